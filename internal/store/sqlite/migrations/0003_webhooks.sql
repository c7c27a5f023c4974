-- failing_since stands above what record says. deleted is set while deliveries
-- are left that have to be removed. listens_after is the record's After while
-- it gets events; NULL while it is paused or deleted.
CREATE TABLE webhooks (
  seq           INTEGER PRIMARY KEY,
  id            TEXT    NOT NULL UNIQUE,
  version       INTEGER NOT NULL,
  record        TEXT    NOT NULL,
  failing_since INTEGER,
  listens_after INTEGER,
  deleted       INTEGER NOT NULL DEFAULT 0
);

-- The way of one event to one webhook. cursor is the event's seq, due_at when
-- an open delivery may be tried or claimed again, and head_at the same for the
-- first open one of a webhook and a subject, NULL for those behind it.
CREATE TABLE deliveries (
  seq        INTEGER PRIMARY KEY,
  webhook    INTEGER NOT NULL,
  cursor     INTEGER NOT NULL,
  subject    TEXT    NOT NULL,
  state      TEXT    NOT NULL CHECK (state IN ('open', 'done', 'dead')),
  claim      TEXT    NOT NULL DEFAULT '',
  due_at     INTEGER,
  head_at    INTEGER,
  settled_at INTEGER,
  record     TEXT    NOT NULL
);
CREATE UNIQUE INDEX deliveries_cursor ON deliveries (webhook, cursor);
CREATE INDEX deliveries_head ON deliveries (webhook, head_at) WHERE head_at IS NOT NULL;
CREATE INDEX deliveries_lane ON deliveries (webhook, subject, cursor) WHERE state = 'open';
CREATE INDEX deliveries_settled ON deliveries (settled_at) WHERE settled_at IS NOT NULL;

-- What is sent, apart from the record, since it never changes.
CREATE TABLE delivery_bodies (
  delivery INTEGER PRIMARY KEY,
  body     BLOB NOT NULL
);

-- Open deliveries by webhook, kept by the writes.
CREATE TABLE backlogs (
  webhook INTEGER PRIMARY KEY,
  open    INTEGER NOT NULL
);

INSERT INTO meta (name, value) VALUES ('outbox', 0);
