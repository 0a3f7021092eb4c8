-- Attempts that have ended, of jobs that went on: JSON, as model/attempts.py says.
CREATE TABLE attempts (
  number bigint NOT NULL,
  attempt bigint NOT NULL,
  what text COLLATE "C" NOT NULL,
  PRIMARY KEY (number, attempt)
);
