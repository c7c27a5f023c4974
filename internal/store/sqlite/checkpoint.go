package sqlite

import (
	"log/slog"
)

// The steps of checkpoints, in pages of 4 KiB. One big checkpoint would keep
// commits waiting for half a second.
const (
	// stepPages is what the background copies at a time.
	stepPages = 2000
	// restartPages is how long the log grows before it begins anew.
	restartPages = 8000
	// restartRest is how much the writer itself may copy to bring that about.
	restartRest = 1000
	// checkEvery is the number of batches between two looks at the log.
	checkEvery = 8
)

var (
	stLogSize    = statement(`PRAGMA wal_checkpoint(NOOP)`)
	stCheckpoint = statement(`PRAGMA wal_checkpoint(PASSIVE)`)
)

// checkpointer moves committed pages from the write-ahead log into the
// database file:
//
//  1. a goroutine with a connection of its own copies most of them while the
//     writer goes on, in steps;
//  2. when the log is long and little is left, the writer copies the rest
//     between two batches; the next commit then begins the log anew, which is
//     only possible when nothing is left.
//
// A checkpoint that fails costs space, not safety: what it should have copied
// stays in the log, and the next one tries again.
type checkpointer struct {
	session *session
	log     *slog.Logger
	batches int
	wanted  chan struct{}
	ended   chan struct{}
	// off leaves it all to somebody else.
	off bool
}

func newCheckpointer(s *session, log *slog.Logger) *checkpointer {
	return &checkpointer{session: s, log: log, wanted: make(chan struct{}, 1), ended: make(chan struct{})}
}

func (c *checkpointer) loop() {
	defer close(c.ended)
	failing := false
	for range c.wanted {
		_, _, err := c.session.checkpoint(stCheckpoint)
		if err != nil && !failing {
			c.log.Warn("copying the write-ahead log into the database failed; it grows until that works", "error", err)
		}
		failing = err != nil
	}
}

// after is called by the writer between two batches, with its own session.
func (c *checkpointer) after(writing *session) {
	if c.batches++; c.off || c.batches%checkEvery != 0 {
		return
	}
	pages, copied, err := writing.checkpoint(stLogSize)
	if err != nil {
		return
	}
	rest := pages - copied
	if pages >= restartPages && (rest <= restartRest || pages >= 4*restartPages) {
		// Errors come again in the goroutine, which reports them.
		_, _, _ = writing.checkpoint(stCheckpoint)
		return
	}
	if rest >= stepPages {
		select {
		case c.wanted <- struct{}{}:
		default:
		}
	}
}

// checkpoint runs a checkpoint pragma and returns the length of the log and
// how much of it has been copied, in pages.
func (s *session) checkpoint(id stmt) (pages, copied int, err error) {
	var busy int
	_, err = s.row(id, nil, &busy, &pages, &copied)
	return pages, copied, err
}

// stop ends the goroutine.
func (c *checkpointer) stop() {
	close(c.wanted)
	<-c.ended
}
