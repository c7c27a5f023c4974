-- The newest version of every name that was ever a template's; deleted is 1
-- while there is none of that name.
CREATE TABLE templates (
  name    TEXT    PRIMARY KEY,
  version INTEGER NOT NULL,
  deleted INTEGER NOT NULL
) WITHOUT ROWID;

-- Every version there ever was. summary is the record without its parameters
-- and its job, for lists.
CREATE TABLE template_versions (
  seq     INTEGER PRIMARY KEY,
  name    TEXT    NOT NULL,
  version INTEGER NOT NULL,
  summary TEXT    NOT NULL,
  record  TEXT    NOT NULL
);
CREATE UNIQUE INDEX template_versions_name ON template_versions (name, version);
