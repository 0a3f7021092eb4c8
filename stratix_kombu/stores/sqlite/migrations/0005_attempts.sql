-- Attempts that have ended, of jobs that went on: JSON, as model/attempts.py says.
CREATE TABLE attempts (
  number INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  what TEXT NOT NULL,
  PRIMARY KEY (number, attempt)
) WITHOUT ROWID;
