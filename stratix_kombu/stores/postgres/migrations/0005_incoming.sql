-- Jobs that are added within transactions of the user's own: the first step after the commit moves them into 'jobs'.
-- Whoever adds takes no lock, however long its transaction lasts.

CREATE TABLE incoming (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text COLLATE "C" NOT NULL,
  added_ms bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
  job text COLLATE "C" NOT NULL
);
CREATE INDEX incoming_ids ON incoming (id);

-- Add a job, or a list of jobs, in the transaction that is under way; returns their ids. See the guide "PostgreSQL".
-- With 'notify' workers are woken by the commit; without, the caller does it, or they come by.
CREATE FUNCTION add_1(jobs json, notify boolean DEFAULT true) RETURNS SETOF text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  one json;
  key text;
  made text;
BEGIN
  IF json_typeof(jobs) <> 'array' THEN
    jobs := json_build_array(jobs);
  END IF;
  FOR one IN SELECT value FROM json_array_elements(jobs) LOOP
    FOR key IN SELECT json_object_keys(one) LOOP
      IF key NOT IN ('queue', 'name', 'data', 'data_text', 'id', 'priority', 'delay_ms', 'due_ms', 'max_attempts', 'dependencies',
          'optional', 'keep_completed', 'keep_failed', 'limit', 'deduplication', 'dead_letter', 'group', 'options',
          'options_text', 'max_stalled', 'message', 'forward', 'kind') THEN
        RAISE EXCEPTION 'a job has no %', key USING ERRCODE = 'invalid_parameter_value';
      END IF;
    END LOOP;
    made := coalesce(one->>'id', gen_random_uuid()::text);
    IF coalesce(one->>'queue', '') !~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}$' THEN
      RAISE EXCEPTION 'a job needs a queue: %', one->>'queue' USING ERRCODE = 'invalid_parameter_value';
    ELSIF coalesce(one->>'name', '') !~ '^[^\x01-\x1f\x7f-\x9f]{1,200}$' THEN
      RAISE EXCEPTION 'a job needs a name: %', one->>'name' USING ERRCODE = 'invalid_parameter_value';
    ELSIF made !~ '^[!-~]{1,255}$' THEN
      RAISE EXCEPTION 'no job can have the id %', made USING ERRCODE = 'invalid_parameter_value';
    ELSIF coalesce((one->>'priority')::integer, 0) NOT BETWEEN 0 AND 9 THEN
      RAISE EXCEPTION 'priorities are 0 to 9, not %', one->>'priority' USING ERRCODE = 'invalid_parameter_value';
    ELSIF coalesce((one->>'max_attempts')::integer, 1) < 1 OR coalesce((one->>'delay_ms')::bigint, 0) < 0 THEN
      RAISE EXCEPTION 'max_attempts is at least 1, and delay_ms at least 0' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO incoming (id, job) VALUES (made, one::text);
    RETURN NEXT made;
  END LOOP;
  IF notify THEN
    PERFORM pg_notify(current_schema(), '');
  END IF;
END
$$;
