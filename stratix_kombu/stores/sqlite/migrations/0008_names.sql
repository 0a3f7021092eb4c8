-- What was counted in each hour of jobs of a name, and these names.

CREATE TABLE named (
  queue TEXT NOT NULL,
  name TEXT NOT NULL,
  PRIMARY KEY (queue, name)
) WITHOUT ROWID;

CREATE TABLE named_hours (
  queue TEXT NOT NULL,
  name TEXT NOT NULL,
  hour INTEGER NOT NULL,
  what TEXT NOT NULL,
  PRIMARY KEY (queue, name, hour)
) WITHOUT ROWID;
