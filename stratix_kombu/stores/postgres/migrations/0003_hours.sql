-- What was counted in each hour.
CREATE TABLE hours (
  queue text COLLATE "C" NOT NULL,
  hour bigint NOT NULL,
  what text COLLATE "C" NOT NULL,
  PRIMARY KEY (queue, hour)
);
