-- What was counted in each hour.

CREATE TABLE hours (
  queue TEXT NOT NULL,
  hour INTEGER NOT NULL,
  what TEXT NOT NULL,
  PRIMARY KEY (queue, hour)
) WITHOUT ROWID;
