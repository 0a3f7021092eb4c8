-- Jobs that their handlers complete within transactions of the user's own: the first step after the commit ends them.

CREATE TABLE completions (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  token text COLLATE "C" NOT NULL UNIQUE,
  job text COLLATE "C" NOT NULL,
  result text COLLATE "C" NOT NULL
);

-- Refuses the commit if the job was taken away from the attempt meanwhile.
CREATE FUNCTION check_completion() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM jobs WHERE id = NEW.job
      AND ((state = 'active' AND token = NEW.token) OR ended = 'Completion:' || NEW.token))
    AND NOT EXISTS (SELECT 1 FROM ended WHERE id = NEW.job AND ended.ended = 'Completion:' || NEW.token) THEN
    RAISE EXCEPTION 'the claim on job % is no longer held: its lease expired, or it was removed', NEW.job
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER fits AFTER INSERT ON completions
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_completion();

-- Complete a job in the transaction that is under way. It is the one that has locked the key of the token: 'within' is
-- its number. With 'notify' workers are woken by the commit.
CREATE FUNCTION complete_1(job_id text, claim text, given text, within text, notify boolean) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF within IS DISTINCT FROM pg_current_xact_id()::text THEN
    RETURN false;
  END IF;
  INSERT INTO completions (token, job, result) VALUES (claim, job_id, given)
  ON CONFLICT (token) DO UPDATE SET result = excluded.result;
  IF notify THEN
    PERFORM pg_notify(current_schema(), '');
  END IF;
  RETURN true;
END
$$;
