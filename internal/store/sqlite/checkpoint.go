package sqlite

import (
	"log/slog"
)

// checkpointer moves committed pages from the write-ahead log to the database.
type checkpointer struct {
	session *session
	log     *slog.Logger
}

func newCheckpointer(s *session, log *slog.Logger) *checkpointer {
	return &checkpointer{session: s, log: log}
}

func (c *checkpointer) after(writing *session) {}

func (c *checkpointer) stop() {}
