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

-- Every field of a record is here once: what never changes in spec (but for
-- the three that are indexed), the rest in columns. rank is minus the
-- priority. stage says which of the indexes below list the job:
-- 0 queued for later, 1 queued, 2 placed, 3 with an attempt, 4 finished.
-- shipped is what SetLogs said of attempt shipped_attempt.
CREATE TABLE jobs (
  seq             INTEGER PRIMARY KEY,
  id              TEXT    NOT NULL,
  namespace       TEXT    NOT NULL,
  class           INTEGER NOT NULL REFERENCES classes (seq),
  rank            INTEGER NOT NULL,
  stage           INTEGER NOT NULL CHECK (stage BETWEEN 0 AND 4),
  state           TEXT    NOT NULL CHECK (state IN ('queued', 'placed', 'claimed', 'pending', 'running', 'succeeded', 'failed', 'cancelled')),
  version         INTEGER NOT NULL,
  intent          TEXT    NOT NULL CHECK (intent IN ('run', 'move', 'stop')),
  stop_reason     TEXT    NOT NULL,
  region          TEXT    NOT NULL,
  attempt         INTEGER NOT NULL,
  failures        INTEGER NOT NULL,
  losses          INTEGER NOT NULL,
  releases        INTEGER NOT NULL,
  moves           INTEGER NOT NULL,
  reason          TEXT    NOT NULL,
  message         TEXT    NOT NULL,
  exit_code       INTEGER,
  logs            TEXT    NOT NULL,
  shipped         TEXT    NOT NULL DEFAULT '',
  shipped_attempt INTEGER NOT NULL DEFAULT 0,
  submitted_at    INTEGER,
  not_before      INTEGER,
  deadline_at     INTEGER,
  placed_at       INTEGER,
  claimed_at      INTEGER,
  started_at      INTEGER,
  finished_at     INTEGER,
  updated_at      INTEGER,
  region_lost_at  INTEGER,
  expires_at      INTEGER,
  spec            TEXT    NOT NULL
);

CREATE UNIQUE INDEX jobs_id        ON jobs (id);
CREATE        INDEX jobs_namespace ON jobs (namespace, id);
CREATE        INDEX jobs_later     ON jobs (not_before)          WHERE stage = 0;
CREATE        INDEX jobs_waiting   ON jobs (class, rank, id)     WHERE stage = 1;
CREATE        INDEX jobs_queued    ON jobs (submitted_at)        WHERE stage < 2;
CREATE        INDEX jobs_placed    ON jobs (region, rank, id)    WHERE stage = 2;
CREATE        INDEX jobs_placed_at ON jobs (placed_at, id)       WHERE stage = 2;
CREATE        INDEX jobs_active    ON jobs (region, id)          WHERE stage = 3;
CREATE        INDEX jobs_ranked    ON jobs (region, rank, id)    WHERE stage = 3 AND region_lost_at IS NULL;
CREATE        INDEX jobs_claimed   ON jobs (region, id)          WHERE state = 'claimed';
CREATE        INDEX jobs_unwanted  ON jobs (region, id)          WHERE stage = 3 AND intent <> 'run';
CREATE        INDEX jobs_suspended ON jobs (region_lost_at, id)  WHERE stage = 3 AND region_lost_at IS NOT NULL;
CREATE        INDEX jobs_overdue   ON jobs (deadline_at, id)     WHERE stage < 4 AND deadline_at IS NOT NULL AND intent <> 'stop';
CREATE        INDEX jobs_expiring  ON jobs (expires_at)          WHERE stage = 4;
CREATE        INDEX jobs_failed    ON jobs (id)                  WHERE state = 'failed';
CREATE        INDEX jobs_cancelled ON jobs (id)                  WHERE state = 'cancelled';

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

-- History and stream in one row. Either job or region is set. seq is the
-- cursor of the stream.
CREATE TABLE events (
  seq       INTEGER PRIMARY KEY,
  job       INTEGER,
  region    TEXT,
  number    INTEGER NOT NULL,
  type      TEXT    NOT NULL,
  namespace TEXT    NOT NULL,
  at        INTEGER,
  data      TEXT    NOT NULL
);
CREATE UNIQUE INDEX events_job       ON events (job, number)    WHERE job IS NOT NULL;
CREATE UNIQUE INDEX events_region    ON events (region, number) WHERE region IS NOT NULL;
CREATE        INDEX events_region_at ON events (at)             WHERE region IS NOT NULL;

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
