-- One namespace. Instants are milliseconds since the epoch. JSON is text.

CREATE TABLE counters (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  numbers INTEGER NOT NULL DEFAULT 0,
  events INTEGER NOT NULL DEFAULT 0,
  sweeps INTEGER NOT NULL DEFAULT 0,
  delays INTEGER NOT NULL DEFAULT 0,
  moves INTEGER NOT NULL DEFAULT 0,
  observed INTEGER NOT NULL DEFAULT 0,
  clock_ms INTEGER NOT NULL DEFAULT 0
);
INSERT INTO counters (one) VALUES (1);

CREATE TABLE leader (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  clock TEXT NOT NULL DEFAULT '',
  until_ms INTEGER NOT NULL DEFAULT 0,
  yields INTEGER NOT NULL DEFAULT 0,
  rests_ms INTEGER NOT NULL DEFAULT 0,
  woken INTEGER NOT NULL DEFAULT 0
);
INSERT INTO leader (one) VALUES (1);

CREATE TABLE queues (
  name TEXT PRIMARY KEY,
  known INTEGER NOT NULL DEFAULT 0,
  paused INTEGER NOT NULL DEFAULT 0,
  held_ms INTEGER NOT NULL DEFAULT 0,
  opens_ms INTEGER,
  unused_ms INTEGER,
  last_event INTEGER NOT NULL DEFAULT 0,
  first_event INTEGER NOT NULL DEFAULT 0,
  waiting INTEGER NOT NULL DEFAULT 0,
  active INTEGER NOT NULL DEFAULT 0,
  delayed INTEGER NOT NULL DEFAULT 0,
  blocked INTEGER NOT NULL DEFAULT 0,
  completed INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  in_order INTEGER NOT NULL DEFAULT 0,
  aside INTEGER NOT NULL DEFAULT 0,
  body TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX queues_opening ON queues (opens_ms) WHERE opens_ms IS NOT NULL;

-- 'number' is given once in a namespace; 'seq' grows with whatever gives a job another place in a list.
CREATE TABLE jobs (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  queue TEXT NOT NULL,
  name TEXT NOT NULL,
  options TEXT NOT NULL DEFAULT '',
  priority INTEGER NOT NULL DEFAULT 0,
  max_attempts INTEGER NOT NULL DEFAULT 1,
  optional INTEGER NOT NULL DEFAULT 0,
  keep_completed TEXT,
  keep_failed TEXT,
  own_limit TEXT,
  deduplication TEXT,
  dead_letter TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '',
  max_stalled INTEGER,
  forward INTEGER NOT NULL DEFAULT 0,
  kind TEXT NOT NULL DEFAULT '',
  job_group TEXT NOT NULL DEFAULT '',
  native INTEGER NOT NULL DEFAULT 0,
  rank INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  due_ms INTEGER NOT NULL DEFAULT 0,
  waiting_ms INTEGER NOT NULL DEFAULT 0,
  waited_ms INTEGER NOT NULL DEFAULT 0,
  processed_ms INTEGER NOT NULL DEFAULT 0,
  finished_ms INTEGER NOT NULL DEFAULT 0,
  attempts_made INTEGER NOT NULL DEFAULT 0,
  attempts_started INTEGER NOT NULL DEFAULT 0,
  stalled_count INTEGER NOT NULL DEFAULT 0,
  token TEXT NOT NULL DEFAULT '',
  ended TEXT NOT NULL DEFAULT '',
  lease_ms INTEGER NOT NULL DEFAULT 0,
  dispatched_ms INTEGER NOT NULL DEFAULT 0,
  dispatched_as INTEGER NOT NULL DEFAULT 0,
  dispatches INTEGER NOT NULL DEFAULT 0,
  place INTEGER NOT NULL DEFAULT 0,
  line TEXT NOT NULL DEFAULT '',
  delayed_as INTEGER NOT NULL DEFAULT 0,
  cancelled TEXT,
  cancel_error TEXT NOT NULL DEFAULT '',
  failed_by TEXT NOT NULL DEFAULT '',
  vacant INTEGER NOT NULL DEFAULT 0,
  pending INTEGER NOT NULL DEFAULT 0,
  swept INTEGER NOT NULL DEFAULT 0,
  rerun INTEGER NOT NULL DEFAULT 0,
  logged INTEGER NOT NULL DEFAULT 0,
  worker TEXT NOT NULL DEFAULT '',
  data TEXT NOT NULL DEFAULT 'null',
  progress TEXT,
  result TEXT,
  failed_reason TEXT,
  stacktrace TEXT,
  seq INTEGER NOT NULL DEFAULT 0,
  expires_ms INTEGER
);
CREATE INDEX jobs_states ON jobs (queue, state, seq);
CREATE INDEX jobs_order ON jobs (queue, rank, place, id) WHERE state = 'waiting' AND native = 0 AND line = '';
CREATE INDEX jobs_aside ON jobs (queue, rank, place, id) WHERE state = 'waiting' AND native = 0 AND line <> '';
CREATE INDEX jobs_lines ON jobs (queue, native, line, rank, place, id) WHERE line <> '';
CREATE INDEX jobs_native ON jobs (queue, priority, dispatched_as) WHERE state = 'waiting' AND native = 1;
CREATE INDEX jobs_delayed ON jobs (due_ms, delayed_as) WHERE state = 'delayed';
CREATE INDEX jobs_delayed_in ON jobs (queue, due_ms, delayed_as) WHERE state = 'delayed';
CREATE INDEX jobs_leases ON jobs (lease_ms) WHERE state = 'active';
CREATE INDEX jobs_expiring ON jobs (expires_ms) WHERE expires_ms IS NOT NULL;

-- 'dependency_number' names the job of that id; 'told' is null where that is gone and has left nothing.
CREATE TABLE edges (
  dependent TEXT NOT NULL,
  dependency TEXT NOT NULL,
  place INTEGER NOT NULL,
  dependency_number INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT '',
  told INTEGER,
  PRIMARY KEY (dependent, dependency)
) WITHOUT ROWID;
CREATE INDEX edges_back ON edges (dependency_number, told, dependent) WHERE told IS NOT NULL;

-- Of removed jobs that have dependents.
CREATE TABLE outcomes (
  name TEXT PRIMARY KEY,
  number INTEGER NOT NULL UNIQUE,
  state TEXT NOT NULL,
  result TEXT,
  reason TEXT NOT NULL DEFAULT '',
  gate INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- Whose dependents are to be told: 'releasing' or 'reviving'.
CREATE TABLE worklist (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  UNIQUE (kind, name)
);

CREATE TABLE ended (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  finished_ms INTEGER NOT NULL,
  result TEXT,
  failed_reason TEXT,
  cancelled INTEGER NOT NULL DEFAULT 0,
  ended TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX ended_age ON ended (finished_ms);

CREATE TABLE lines (
  queue TEXT NOT NULL,
  unsent INTEGER NOT NULL,
  name TEXT NOT NULL,
  opens_ms INTEGER,
  jobs INTEGER NOT NULL,
  PRIMARY KEY (queue, unsent, name)
) WITHOUT ROWID;
CREATE INDEX lines_opening ON lines (queue, unsent, opens_ms, name) WHERE opens_ms IS NOT NULL;

CREATE TABLE unsent (
  place INTEGER PRIMARY KEY AUTOINCREMENT,
  queue TEXT NOT NULL,
  id TEXT NOT NULL UNIQUE
);
CREATE INDEX unsent_of ON unsent (queue, place);

CREATE TABLE group_places (
  queue TEXT NOT NULL,
  priority INTEGER NOT NULL,
  name TEXT NOT NULL,
  place INTEGER NOT NULL,
  PRIMARY KEY (queue, priority, name)
) WITHOUT ROWID;
CREATE INDEX group_places_passed ON group_places (queue, priority, place);

CREATE TABLE group_active (
  queue TEXT NOT NULL,
  name TEXT NOT NULL,
  jobs INTEGER NOT NULL,
  PRIMARY KEY (queue, name)
) WITHOUT ROWID;

CREATE TABLE took (
  queue TEXT NOT NULL,
  worker TEXT NOT NULL,
  answer TEXT NOT NULL,
  PRIMARY KEY (queue, worker)
) WITHOUT ROWID;

CREATE TABLE limits (
  key TEXT NOT NULL,
  bucket INTEGER NOT NULL,
  full_at REAL,
  first INTEGER NOT NULL DEFAULT 1,
  last INTEGER NOT NULL DEFAULT 0,
  unused_ms INTEGER NOT NULL,
  PRIMARY KEY (key, bucket)
) WITHOUT ROWID;
CREATE INDEX limits_unused ON limits (unused_ms);

CREATE TABLE starts (
  key TEXT NOT NULL,
  number INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (key, number)
) WITHOUT ROWID;

CREATE TABLE deduplicated (
  queue TEXT NOT NULL,
  id TEXT NOT NULL,
  job TEXT NOT NULL,
  number INTEGER NOT NULL,
  until_ms INTEGER NOT NULL,
  PRIMARY KEY (queue, id)
) WITHOUT ROWID;
CREATE INDEX deduplicated_until ON deduplicated (until_ms) WHERE until_ms > 0;

CREATE TABLE schedules (
  key TEXT PRIMARY KEY,
  queue TEXT NOT NULL,
  name TEXT NOT NULL,
  rule TEXT NOT NULL,
  template TEXT NOT NULL,
  next_ms INTEGER NOT NULL,
  runs INTEGER NOT NULL,
  paused INTEGER NOT NULL,
  owner TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX schedules_due ON schedules (owner, next_ms, key) WHERE next_ms > 0 AND paused = 0;
CREATE INDEX schedules_of ON schedules (queue);

CREATE TABLE presence (
  worker TEXT PRIMARY KEY,
  until_ms INTEGER NOT NULL,
  again_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX presence_until ON presence (until_ms);

CREATE TABLE workers (
  queue TEXT NOT NULL,
  id TEXT NOT NULL,
  info TEXT NOT NULL,
  PRIMARY KEY (queue, id)
) WITHOUT ROWID;
CREATE INDEX workers_of ON workers (id);

CREATE TABLE locks (
  key TEXT PRIMARY KEY,
  token TEXT NOT NULL,
  until_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX locks_until ON locks (until_ms);

CREATE TABLE logs (
  number INTEGER NOT NULL,
  place INTEGER NOT NULL,
  line TEXT NOT NULL,
  PRIMARY KEY (number, place)
) WITHOUT ROWID;

CREATE TABLE events (
  queue TEXT NOT NULL,
  number INTEGER NOT NULL,
  name TEXT NOT NULL,
  job TEXT NOT NULL,
  job_name TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  value TEXT,
  PRIMARY KEY (queue, number)
) WITHOUT ROWID;

-- What single steps have counted, until it is added to minutes and totals.
CREATE TABLE observed (
  number INTEGER PRIMARY KEY,
  queue TEXT NOT NULL,
  what TEXT NOT NULL
);
CREATE INDEX observed_of ON observed (queue, number);

CREATE TABLE minutes (
  queue TEXT NOT NULL,
  minute INTEGER NOT NULL,
  what TEXT NOT NULL,
  PRIMARY KEY (queue, minute)
) WITHOUT ROWID;

CREATE TABLE totals (
  queue TEXT PRIMARY KEY,
  what TEXT NOT NULL
) WITHOUT ROWID;
