-- Endpoints: what is wanted, what was decided and what was observed, each as
-- JSON beside what statements look at, and each with a writer of its own.
CREATE TABLE endpoints (
  name    TEXT    NOT NULL PRIMARY KEY,
  version INTEGER NOT NULL,
  record  TEXT    NOT NULL
) WITHOUT ROWID;

CREATE TABLE endpoint_plans (
  name    TEXT    NOT NULL PRIMARY KEY,
  uid     TEXT    NOT NULL,
  version INTEGER NOT NULL,
  record  TEXT    NOT NULL
) WITHOUT ROWID;

CREATE TABLE endpoint_observed (
  region TEXT NOT NULL,
  name   TEXT NOT NULL,
  record TEXT NOT NULL,
  PRIMARY KEY (region, name)
) WITHOUT ROWID;

-- mark is raised by every write of what a region says, or, under an empty
-- region, by every write of the other two tables.
CREATE TABLE endpoint_marks (
  region TEXT    NOT NULL PRIMARY KEY,
  mark   INTEGER NOT NULL
) WITHOUT ROWID;
