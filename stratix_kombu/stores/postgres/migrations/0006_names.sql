-- What was counted in each hour of jobs of a name, and these names.
CREATE TABLE named (
  queue text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  PRIMARY KEY (queue, name)
);

CREATE TABLE named_hours (
  queue text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  hour bigint NOT NULL,
  what text COLLATE "C" NOT NULL,
  PRIMARY KEY (queue, name, hour)
);
