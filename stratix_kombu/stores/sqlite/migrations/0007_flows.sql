-- Roots of flows.

CREATE TABLE flows (
  id TEXT PRIMARY KEY,
  number INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX flows_by_number ON flows (number);
