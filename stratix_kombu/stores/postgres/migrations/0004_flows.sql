-- Roots of flows.
CREATE TABLE flows (
  id text COLLATE "C" PRIMARY KEY,
  number bigint NOT NULL
);
CREATE INDEX flows_by_number ON flows (number);
