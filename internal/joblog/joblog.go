// Package joblog brings an attempt's logs to whoever asks. While the region
// holds the attempt, the Broker carries a client's question to the region's
// agent (in the answer to a Sync) and the agent's stream back. Afterwards the
// Archive has them: the agent ships them once, in the line format that this
// package defines for both sides.
//
// It knows nothing of HTTP, of jobs' states or of who may ask: the server
// does. The agent uses Rewrite; the server everything else.
package joblog

import (
	"errors"
	"fmt"
)

// The errors that the server decides on.
var (
	// ErrRegionSilent: the region's agent did not answer in time.
	ErrRegionSilent = errors.New("region did not answer")
	// ErrBusy: as many clients wait for the region as may.
	ErrBusy = errors.New("too many clients wait for the region")
	// ErrNoRequest: nobody waits for this answer.
	ErrNoRequest = errors.New("no such request")
	// ErrClientGone: the client left before it had the whole answer.
	ErrClientGone = errors.New("client has gone")
	// ErrCut: the agent's answer broke off.
	ErrCut = errors.New("answer broke off")
	// ErrNotFound: the archive does not have this attempt.
	ErrNotFound = errors.New("no archived logs")
	// ErrCorrupt: the archive's checksum does not hold.
	ErrCorrupt = errors.New("archived logs are damaged")
)

// NoContainer says that no line of an archive is from this container: there is
// none, or it wrote nothing.
type NoContainer struct {
	Container string
	// Wrote names those that wrote, in order.
	Wrote []string
}

func (e *NoContainer) Error() string {
	return fmt.Sprintf("the archived logs hold nothing of container %q", e.Container)
}
