-- Pipelines and schedules: the record as JSON, what statements look at beside
-- it, and what is submitted apart, since the record changes often and that
-- hardly ever. version is the record's, and so is due_at.

-- identity, key and hash are NULL without an idempotency key.
CREATE TABLE pipelines (
  seq       INTEGER PRIMARY KEY,
  id        TEXT    NOT NULL,
  namespace TEXT    NOT NULL,
  version   INTEGER NOT NULL,
  due_at    INTEGER NOT NULL,
  record    TEXT    NOT NULL,
  identity  TEXT,
  key       TEXT,
  hash      TEXT
);
CREATE UNIQUE INDEX pipelines_id ON pipelines (id);
CREATE INDEX pipelines_namespace ON pipelines (namespace, id);
CREATE INDEX pipelines_due ON pipelines (due_at);
CREATE UNIQUE INDEX pipelines_key ON pipelines (identity, namespace, key) WHERE key IS NOT NULL;

CREATE TABLE pipeline_documents (
  id       TEXT PRIMARY KEY,
  document TEXT NOT NULL
);

-- due_at is NULL for one that is never due.
CREATE TABLE schedules (
  seq       INTEGER PRIMARY KEY,
  namespace TEXT    NOT NULL,
  name      TEXT    NOT NULL,
  version   INTEGER NOT NULL,
  due_at    INTEGER,
  record    TEXT    NOT NULL
);
CREATE UNIQUE INDEX schedules_name ON schedules (namespace, name);
CREATE INDEX schedules_due ON schedules (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE schedule_documents (
  namespace TEXT NOT NULL,
  name      TEXT NOT NULL,
  document  TEXT NOT NULL,
  PRIMARY KEY (namespace, name)
);
