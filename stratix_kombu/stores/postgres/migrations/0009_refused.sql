-- What a worker could not read later is refused by 'add_1', where it is said.

-- Why a job cannot have this value, NULL if it can. 'path' is the key, and after a dot the key within it.
CREATE FUNCTION refusal(path text, said json) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  longest CONSTANT numeric := 3153600000000;  -- milliseconds: a hundred years
  last CONSTANT numeric := 253402300799999;  -- the end of the year 9999
  kind CONSTANT text := json_typeof(said);
  kinds text;
  pattern text;
  low numeric;
  high numeric;
  meant text;
  key text;
  part json;
  problem text;
  keys text[] := '{}';
BEGIN
  IF kind = 'null' THEN
    RETURN NULL;
  ELSIF path IN ('deduplication', 'options') OR (path = 'options.backoff' AND kind = 'object') THEN
    IF kind <> 'object' THEN
      RETURN format('%s must be an object, not %s', path, said);
    END IF;
    FOR key, part IN SELECT * FROM json_each(said) LOOP
      problem := refusal(path || '.' || key, part);
      IF problem IS NOT NULL THEN
        RETURN problem;
      ELSIF json_typeof(part) <> 'null' THEN
        keys := keys || key;
      END IF;
    END LOOP;
    IF path = 'deduplication' AND NOT keys @> '{id}' THEN
      RETURN 'deduplication needs an id';
    ELSIF path = 'options.backoff' AND (keys @> '{custom}' OR said->>'type' = 'custom')
      AND NOT (keys @> '{custom}' AND keys <@ '{type,custom}' AND coalesce(said->>'type', 'custom') = 'custom') THEN
      RETURN format('options.backoff has custom alone, or type, delay and jitter, not %s', said);
    END IF;
    RETURN NULL;
  END IF;
  SELECT known.kinds, known.pattern, known.low, known.high, known.meant INTO kinds, pattern, low, high, meant FROM (VALUES
    ('due_ms', 'number string', '^-?[0-9]{1,15}$', -62135596800000, last, 'milliseconds since the epoch'),
    ('delay_ms', 'number string', '^[0-9]{1,15}$', 0, longest, 'whole milliseconds, at most a hundred years'),
    ('max_stalled', 'number string', '^[0-9]{1,9}$', NULL, NULL, 'a whole number'),
    ('optional', 'boolean number', '^(true|false|0|1)$', NULL, NULL, 'true or false'),
    ('dependencies', 'array', '', NULL, NULL, 'an array of ids'),
    ('group', 'string number', '^[!-~]{0,128}$', NULL, NULL, '1 to 128 signs of ASCII without spaces'),
    ('dead_letter', 'string', '^([A-Za-z0-9_][A-Za-z0-9_.-]{0,59})?$', NULL, NULL, 'the name of a queue'),
    ('keep_completed', 'string number', '^[0-9]{0,15}(:[0-9]{0,15})?$', NULL, NULL, '"count:milliseconds"'),
    ('keep_failed', 'string number', '^[0-9]{0,15}(:[0-9]{0,15})?$', NULL, NULL, '"count:milliseconds"'),
    ('deduplication.id', 'string', '^[^\x01-\x1f\x7f-\x9f]{1,200}$', NULL, NULL, 'a text of 1 to 200 characters'),
    ('deduplication.ttl_ms', 'number', '^[0-9]+$', 0, longest, 'whole milliseconds'),
    ('deduplication.replace', 'boolean', '', NULL, NULL, 'true or false'),
    ('deduplication.extend', 'boolean', '', NULL, NULL, 'true or false'),
    ('options.attempts', 'number', '^[0-9]+$', 1, 10000, 'a whole number from 1 to 10000'),
    ('options.timeout', 'number', '', 0, longest, 'milliseconds'),
    ('options.backoff', 'number', '', 0, longest, 'milliseconds or an object'),
    ('options.backoff.type', 'string', '^(fixed|exponential|custom)$', NULL, NULL, '"fixed" or "exponential"'),
    ('options.backoff.delay', 'number', '', 0, longest, 'milliseconds'),
    ('options.backoff.delay_ms', 'number', '', 0, longest, 'milliseconds'),
    ('options.backoff.jitter', 'number', '', 0, 1, 'from 0 to 1'),
    ('options.backoff.custom', 'string', '', NULL, NULL, 'the name of a function')
  ) AS known (path, kinds, pattern, low, high, meant) WHERE known.path = refusal.path;
  IF NOT FOUND THEN
    RETURN format('a job has no %s', path);
  ELSIF NOT kind = ANY (string_to_array(kinds, ' ')) OR NOT (said #>> '{}') ~ pattern THEN
    RETURN format('%s must be %s, not %s', path, meant, said);
  ELSIF low IS NOT NULL AND NOT (said #>> '{}')::numeric BETWEEN low AND high THEN
    RETURN format('%s must be %s, not %s', path, meant, said);
  ELSIF kind = 'array' THEN
    FOR part IN SELECT * FROM json_array_elements(said) LOOP
      IF json_typeof(part) NOT IN ('string', 'number') OR (part #>> '{}') !~ '^.{1,255}$' THEN
        RETURN format('%s must be %s, not %s', path, meant, said);
      END IF;
    END LOOP;
  END IF;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION add_1(jobs json, notify boolean DEFAULT true) RETURNS SETOF text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  one json;
  key text;
  said json;
  problem text;
  made text;
BEGIN
  IF json_typeof(jobs) <> 'array' THEN
    jobs := json_build_array(jobs);
  END IF;
  FOR one IN SELECT value FROM json_array_elements(jobs) LOOP
    FOR key, said IN SELECT * FROM json_each(one) LOOP
      IF key NOT IN ('queue', 'name', 'data', 'data_text', 'id', 'priority', 'max_attempts', 'limit',
          'options_text', 'message', 'forward', 'kind') THEN
        problem := refusal(key, said);
        IF problem IS NOT NULL THEN
          RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
        END IF;
      END IF;
    END LOOP;
    made := coalesce(one->>'id', gen_random_uuid()::text);
    IF coalesce(one->>'queue', '') !~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}$' THEN
      RAISE EXCEPTION 'a job needs a queue: %', one->>'queue' USING ERRCODE = 'invalid_parameter_value';
    ELSIF coalesce(one->>'name', '') !~ '^[^\x01-\x1f\x7f-\x9f]{1,200}$' THEN
      RAISE EXCEPTION 'a job needs a name: %', one->>'name' USING ERRCODE = 'invalid_parameter_value';
    ELSIF made !~ '^[!-~]{1,255}$' OR made ~ ':(logs|dependencies|dependents)$' THEN
      RAISE EXCEPTION 'no job can have the id %', made USING ERRCODE = 'invalid_parameter_value';
    ELSIF coalesce((one->>'priority')::integer, 0) NOT BETWEEN 0 AND 9 THEN
      RAISE EXCEPTION 'priorities are 0 to 9, not %', one->>'priority' USING ERRCODE = 'invalid_parameter_value';
    ELSIF coalesce((one->>'max_attempts')::integer, 1) < 1 THEN
      RAISE EXCEPTION 'max_attempts is at least 1, not %', one->>'max_attempts' USING ERRCODE = 'invalid_parameter_value';
    ELSIF EXISTS (
      SELECT 1 FROM json_array_elements_text(
        CASE json_typeof(one->'dependencies') WHEN 'array' THEN one->'dependencies' END
      ) AS named (dependency) WHERE dependency = made
    ) THEN
      RAISE EXCEPTION 'the job % cannot depend on itself', made USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO incoming (id, job) VALUES (made, one::text);
    RETURN NEXT made;
  END LOOP;
  IF notify THEN
    PERFORM pg_notify(current_schema(), '');
  END IF;
END
$$;
