-- Times are nanoseconds since 1970 UTC; NULL is none. For people:
-- datetime(submitted_at / 1000000000, 'unixepoch').

CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value NOT NULL
) WITHOUT ROWID;

-- What placement knows of jobs that it cannot tell apart. jobs counts those
-- that exist.
CREATE TABLE classes (
  seq         INTEGER PRIMARY KEY,
  class       TEXT    NOT NULL UNIQUE,
  demand      TEXT    NOT NULL,
  constraints TEXT    NOT NULL,
  jobs        INTEGER NOT NULL
);

-- A record, every field once: in spec what never changes, in status what does
-- (both JSON: status ->> '$.attempt'), and beside them what statements look at.
-- shipped is what SetLogs said of attempt shipped_attempt; it stands above the
-- logs in status.
--
-- The columns from rank on are keys and nothing else, computed from the record
-- by keysOf, so that a transition touches few indexes:
--   rank       minus the priority
--   stage      0 queued for later, 1 queued, 2 placed, 3 active, 4 finished
--   stage_at   what the loops look at in each stage: not before, submitted,
--              placed, end of the wait for a lost region, end of the record
--   queue      'waiting CLASS', 'placed REGION' or 'active REGION', for the
--              lists in order of priority; 'later' for those in stage 0
--   lane       'claimed REGION' or 'held REGION', for the lists by ID
--   unwanted   the region of an attempt that should end
--   overdue_at the deadline of a job that nobody has begun to stop
CREATE TABLE jobs (
  seq             INTEGER PRIMARY KEY,
  id              TEXT    NOT NULL,
  namespace       TEXT    NOT NULL,
  class           INTEGER NOT NULL,
  state           TEXT    NOT NULL CHECK (state IN ('queued', 'placed', 'claimed', 'pending', 'running', 'succeeded', 'failed', 'cancelled')),
  version         INTEGER NOT NULL,
  region          TEXT    NOT NULL,
  status          TEXT    NOT NULL,
  spec            TEXT    NOT NULL,
  shipped         TEXT    NOT NULL DEFAULT '',
  shipped_attempt INTEGER NOT NULL DEFAULT 0,
  rank            INTEGER NOT NULL,
  submitted_at    INTEGER,
  stage           INTEGER NOT NULL,
  stage_at        INTEGER,
  queue           TEXT,
  lane            TEXT,
  unwanted        TEXT,
  overdue_at      INTEGER
);

CREATE UNIQUE INDEX jobs_id ON jobs (id);
CREATE INDEX jobs_namespace ON jobs (namespace, id);
CREATE INDEX jobs_queue ON jobs (queue, rank, id) WHERE queue IS NOT NULL;
CREATE INDEX jobs_stage ON jobs (stage, stage_at) WHERE stage_at IS NOT NULL;
CREATE INDEX jobs_lane ON jobs (lane, id) WHERE lane IS NOT NULL;
CREATE INDEX jobs_unwanted ON jobs (unwanted, id) WHERE unwanted IS NOT NULL;
CREATE INDEX jobs_overdue ON jobs (overdue_at) WHERE overdue_at IS NOT NULL;

-- The first waiting job of each class that has any.
CREATE TABLE heads (
  class        INTEGER PRIMARY KEY,
  rank         INTEGER NOT NULL,
  id           TEXT    NOT NULL,
  submitted_at INTEGER
);
CREATE INDEX heads_order ON heads (rank, id);

-- What was submitted, apart from the record, since it never changes. The last
-- three columns lead to the row in keys; NULL without an idempotency key.
CREATE TABLE submissions (
  job       INTEGER PRIMARY KEY,
  manifest  TEXT NOT NULL,
  identity  TEXT,
  namespace TEXT,
  key       TEXT
);

-- History and stream in one row. seq is the cursor of the stream. subject is
-- the seq of a job, or the name of a region: its type tells.
CREATE TABLE events (
  seq       INTEGER PRIMARY KEY,
  subject   NOT NULL,
  number    INTEGER NOT NULL,
  type      TEXT    NOT NULL,
  namespace TEXT    NOT NULL,
  at        INTEGER,
  data      TEXT    NOT NULL
);
CREATE UNIQUE INDEX events_subject ON events (subject, number);

-- job is NULL when the job was deleted before its key grew old; record then
-- is what the job was.
CREATE TABLE keys (
  identity  TEXT NOT NULL,
  namespace TEXT NOT NULL,
  key       TEXT NOT NULL,
  hash      TEXT NOT NULL,
  job       INTEGER,
  at        INTEGER,
  record    TEXT,
  PRIMARY KEY (identity, namespace, key)
) WITHOUT ROWID;
CREATE INDEX keys_deleted ON keys (at) WHERE job IS NULL;

-- Counters, kept by the writes.
CREATE TABLE counts (
  namespace TEXT    NOT NULL,
  region    TEXT    NOT NULL,
  state     TEXT    NOT NULL,
  jobs      INTEGER NOT NULL,
  PRIMARY KEY (namespace, region, state)
) WITHOUT ROWID;

CREATE TABLE promises (
  region TEXT    NOT NULL,
  class  INTEGER NOT NULL,
  jobs   INTEGER NOT NULL,
  PRIMARY KEY (region, class)
) WITHOUT ROWID;

CREATE TABLE throughput (
  minute INTEGER NOT NULL,
  state  TEXT    NOT NULL,
  jobs   INTEGER NOT NULL,
  PRIMARY KEY (minute, state)
) WITHOUT ROWID;

-- The snapshot is apart, so that a renewal is a small write; its number says
-- which one belongs to the record.
CREATE TABLE regions (
  name     TEXT PRIMARY KEY,
  record   TEXT    NOT NULL,
  snapshot INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE snapshots (
  region   TEXT PRIMARY KEY,
  number   INTEGER NOT NULL,
  snapshot TEXT    NOT NULL
);

CREATE TABLE tokens (
  id     TEXT PRIMARY KEY,
  name   TEXT NOT NULL UNIQUE,
  hash   TEXT NOT NULL UNIQUE,
  record TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE leases (
  name     TEXT PRIMARY KEY,
  holder   TEXT    NOT NULL,
  renewals INTEGER NOT NULL
) WITHOUT ROWID;
