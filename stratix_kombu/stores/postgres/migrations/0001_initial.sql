-- One namespace, in a schema of its own. Instants are milliseconds since the epoch. JSON is text. Texts are sorted by
-- their characters, whatever the database sorts by.

-- One row. 'writes' is another number after each transaction that has written.
-- 'era', of this and of other tables that are written often, grows now and then. The newest version of a row is the one
-- with the highest: so it is found at once where a snapshot that is held for long keeps the versions before it.
CREATE TABLE counters (
  era bigint PRIMARY KEY,
  writes bigint NOT NULL DEFAULT 0,
  numbers bigint NOT NULL DEFAULT 0,
  events bigint NOT NULL DEFAULT 0,
  sweeps bigint NOT NULL DEFAULT 0,
  delays bigint NOT NULL DEFAULT 0,
  moves bigint NOT NULL DEFAULT 0,
  observed bigint NOT NULL DEFAULT 0,
  clock_ms bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);
INSERT INTO counters (era) VALUES (0);

CREATE TABLE leader (
  one bigint PRIMARY KEY CHECK (one = 1),
  clock text COLLATE "C" NOT NULL DEFAULT '',
  until_ms bigint NOT NULL DEFAULT 0,
  yields bigint NOT NULL DEFAULT 0,
  rests_ms bigint NOT NULL DEFAULT 0,
  woken bigint NOT NULL DEFAULT 0
);
INSERT INTO leader (one) VALUES (1);

CREATE TABLE queues (
  name text COLLATE "C" NOT NULL,
  known bigint NOT NULL DEFAULT 0,
  paused bigint NOT NULL DEFAULT 0,
  held_ms bigint NOT NULL DEFAULT 0,
  opens_ms bigint,
  unused_ms bigint,
  last_event bigint NOT NULL DEFAULT 0,
  first_event bigint NOT NULL DEFAULT 0,
  waiting bigint NOT NULL DEFAULT 0,
  active bigint NOT NULL DEFAULT 0,
  delayed bigint NOT NULL DEFAULT 0,
  blocked bigint NOT NULL DEFAULT 0,
  completed bigint NOT NULL DEFAULT 0,
  failed bigint NOT NULL DEFAULT 0,
  in_order bigint NOT NULL DEFAULT 0,
  aside bigint NOT NULL DEFAULT 0,
  body text COLLATE "C" NOT NULL DEFAULT '',
  era bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (name, era)
) WITH (fillfactor = 20);
CREATE INDEX queues_opening ON queues (opens_ms) WHERE opens_ms IS NOT NULL;

-- 'number' is given once in a namespace; 'seq' grows with whatever gives a job another place in a list.
CREATE TABLE jobs (
  id text COLLATE "C" PRIMARY KEY,
  number bigint NOT NULL,
  queue text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  options text COLLATE "C" NOT NULL DEFAULT '',
  priority bigint NOT NULL DEFAULT 0,
  max_attempts bigint NOT NULL DEFAULT 1,
  optional bigint NOT NULL DEFAULT 0,
  keep_completed text COLLATE "C",
  keep_failed text COLLATE "C",
  own_limit text COLLATE "C",
  deduplication text COLLATE "C",
  dead_letter text COLLATE "C" NOT NULL DEFAULT '',
  message text COLLATE "C" NOT NULL DEFAULT '',
  max_stalled bigint,
  forward bigint NOT NULL DEFAULT 0,
  kind text COLLATE "C" NOT NULL DEFAULT '',
  job_group text COLLATE "C" NOT NULL DEFAULT '',
  native bigint NOT NULL DEFAULT 0,
  rank bigint NOT NULL DEFAULT 0,
  more text COLLATE "C" NOT NULL DEFAULT '',
  state text COLLATE "C" NOT NULL,
  created_ms bigint NOT NULL,
  due_ms bigint NOT NULL DEFAULT 0,
  waiting_ms bigint NOT NULL DEFAULT 0,
  waited_ms bigint NOT NULL DEFAULT 0,
  processed_ms bigint NOT NULL DEFAULT 0,
  finished_ms bigint NOT NULL DEFAULT 0,
  attempts_made bigint NOT NULL DEFAULT 0,
  attempts_started bigint NOT NULL DEFAULT 0,
  stalled_count bigint NOT NULL DEFAULT 0,
  token text COLLATE "C" NOT NULL DEFAULT '',
  ended text COLLATE "C" NOT NULL DEFAULT '',
  lease_ms bigint NOT NULL DEFAULT 0,
  dispatched_ms bigint NOT NULL DEFAULT 0,
  dispatched_as bigint NOT NULL DEFAULT 0,
  dispatches bigint NOT NULL DEFAULT 0,
  place bigint NOT NULL DEFAULT 0,
  line text COLLATE "C" NOT NULL DEFAULT '',
  delayed_as bigint NOT NULL DEFAULT 0,
  cancelled text COLLATE "C",
  cancel_error text COLLATE "C" NOT NULL DEFAULT '',
  failed_by text COLLATE "C" NOT NULL DEFAULT '',
  vacant bigint NOT NULL DEFAULT 0,
  pending bigint NOT NULL DEFAULT 0,
  swept bigint NOT NULL DEFAULT 0,
  rerun bigint NOT NULL DEFAULT 0,
  logged bigint NOT NULL DEFAULT 0,
  worker text COLLATE "C" NOT NULL DEFAULT '',
  data text COLLATE "C" NOT NULL DEFAULT 'null',
  progress text COLLATE "C",
  result text COLLATE "C",
  failed_reason text COLLATE "C",
  stacktrace text COLLATE "C",
  seq bigint NOT NULL DEFAULT 0,
  expires_ms bigint
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
  dependent text COLLATE "C" NOT NULL,
  dependency text COLLATE "C" NOT NULL,
  place bigint NOT NULL,
  dependency_number bigint NOT NULL,
  state text COLLATE "C" NOT NULL DEFAULT '',
  told bigint,
  PRIMARY KEY (dependent, dependency)
);
CREATE INDEX edges_back ON edges (dependency_number, told, dependent) WHERE told IS NOT NULL;

-- Of removed jobs that have dependents.
CREATE TABLE outcomes (
  name text COLLATE "C" PRIMARY KEY,
  number bigint NOT NULL UNIQUE,
  state text COLLATE "C" NOT NULL,
  result text COLLATE "C",
  reason text COLLATE "C" NOT NULL DEFAULT '',
  gate bigint NOT NULL DEFAULT 0
);

-- Whose dependents are to be told: 'releasing' or 'reviving'.
CREATE TABLE worklist (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  UNIQUE (kind, name)
);

CREATE TABLE ended (
  id text COLLATE "C" PRIMARY KEY,
  state text COLLATE "C" NOT NULL,
  finished_ms bigint NOT NULL,
  result text COLLATE "C",
  failed_reason text COLLATE "C",
  cancelled bigint NOT NULL DEFAULT 0,
  ended text COLLATE "C" NOT NULL DEFAULT ''
);
CREATE INDEX ended_age ON ended (finished_ms);

CREATE TABLE lines (
  queue text COLLATE "C" NOT NULL,
  unsent bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  opens_ms bigint,
  jobs bigint NOT NULL,
  PRIMARY KEY (queue, unsent, name)
);
CREATE INDEX lines_opening ON lines (queue, unsent, opens_ms, name) WHERE opens_ms IS NOT NULL;

CREATE TABLE unsent (
  place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL UNIQUE
);
CREATE INDEX unsent_of ON unsent (queue, place);

CREATE TABLE group_places (
  queue text COLLATE "C" NOT NULL,
  priority bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  place bigint NOT NULL,
  era bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (queue, priority, name, era)
) WITH (fillfactor = 20);
CREATE INDEX group_places_passed ON group_places (queue, priority, place);

CREATE TABLE group_active (
  queue text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  jobs bigint NOT NULL,
  era bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (queue, name, era)
) WITH (fillfactor = 20);

CREATE TABLE took (
  queue text COLLATE "C" NOT NULL,
  worker text COLLATE "C" NOT NULL,
  answer text COLLATE "C" NOT NULL,
  era bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (queue, worker, era)
) WITH (fillfactor = 20);

CREATE TABLE limits (
  key text COLLATE "C" NOT NULL,
  bucket bigint NOT NULL,
  full_at double precision,
  first bigint NOT NULL DEFAULT 1,
  last bigint NOT NULL DEFAULT 0,
  unused_ms bigint NOT NULL,
  era bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (key, bucket, era)
) WITH (fillfactor = 20);
CREATE INDEX limits_unused ON limits (unused_ms);

CREATE TABLE starts (
  key text COLLATE "C" NOT NULL,
  number bigint NOT NULL,
  at_ms bigint NOT NULL,
  PRIMARY KEY (key, number)
);

CREATE TABLE deduplicated (
  queue text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  job text COLLATE "C" NOT NULL,
  number bigint NOT NULL,
  until_ms bigint NOT NULL,
  PRIMARY KEY (queue, id)
);
CREATE INDEX deduplicated_until ON deduplicated (until_ms) WHERE until_ms > 0;

CREATE TABLE schedules (
  key text COLLATE "C" PRIMARY KEY,
  queue text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  rule text COLLATE "C" NOT NULL,
  template text COLLATE "C" NOT NULL,
  next_ms bigint NOT NULL,
  runs bigint NOT NULL,
  paused bigint NOT NULL,
  owner text COLLATE "C" NOT NULL,
  recent text COLLATE "C" NOT NULL DEFAULT ''
);
CREATE INDEX schedules_due ON schedules (owner, next_ms, key) WHERE next_ms > 0 AND paused = 0;
CREATE INDEX schedules_of ON schedules (queue);

CREATE TABLE presence (
  worker text COLLATE "C" PRIMARY KEY,
  until_ms bigint NOT NULL,
  again_ms bigint NOT NULL
);
CREATE INDEX presence_until ON presence (until_ms);

CREATE TABLE workers (
  queue text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  info text COLLATE "C" NOT NULL,
  PRIMARY KEY (queue, id)
);
CREATE INDEX workers_of ON workers (id);

CREATE TABLE locks (
  key text COLLATE "C" PRIMARY KEY,
  token text COLLATE "C" NOT NULL,
  until_ms bigint NOT NULL
);
CREATE INDEX locks_until ON locks (until_ms);

CREATE TABLE logs (
  number bigint NOT NULL,
  place bigint NOT NULL,
  line text COLLATE "C" NOT NULL,
  PRIMARY KEY (number, place)
);

CREATE TABLE events (
  queue text COLLATE "C" NOT NULL,
  number bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  job text COLLATE "C" NOT NULL,
  job_name text COLLATE "C" NOT NULL,
  at_ms bigint NOT NULL,
  value text COLLATE "C",
  PRIMARY KEY (queue, number)
);

-- What single steps have counted, until it is added to minutes and totals.
CREATE TABLE observed (
  number bigint PRIMARY KEY,
  queue text COLLATE "C" NOT NULL,
  what text COLLATE "C" NOT NULL
);
CREATE INDEX observed_of ON observed (queue, number);

CREATE TABLE minutes (
  queue text COLLATE "C" NOT NULL,
  minute bigint NOT NULL,
  what text COLLATE "C" NOT NULL,
  PRIMARY KEY (queue, minute)
);

CREATE TABLE totals (
  queue text COLLATE "C" PRIMARY KEY,
  what text COLLATE "C" NOT NULL
);

-- Messages for hosts that need a broker, and which queues an exchange of theirs leads to.

CREATE TABLE messages (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue text COLLATE "C" NOT NULL,
  priority bigint NOT NULL,
  expires_ms bigint,
  body text COLLATE "C" NOT NULL
);
CREATE INDEX messages_of ON messages (queue, priority, number);
CREATE INDEX messages_expiring ON messages (expires_ms) WHERE expires_ms IS NOT NULL;

CREATE TABLE bindings (
  exchange text COLLATE "C" NOT NULL,
  routing_key text COLLATE "C" NOT NULL,
  pattern text COLLATE "C" NOT NULL,
  queue text COLLATE "C" NOT NULL,
  PRIMARY KEY (exchange, routing_key, pattern, queue)
);
CREATE INDEX bindings_of ON bindings (queue);
