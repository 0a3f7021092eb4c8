-- Claims that were ended while a transaction that completes them was under way: so that its commit is refused also where
-- it sees the jobs as they were when it began. A row is of no use when that transaction is over, which holds the key.
CREATE TABLE overtaken (
  token text COLLATE "C" PRIMARY KEY,
  key bigint NOT NULL
);

-- End claims, given as {token: key}, by something else than their completion. Returns those that must be left alone:
-- their completion was committed, or is about to be. One whose transaction is under way is left alone, too, unless
-- 'overtakes'.
CREATE FUNCTION end_claims(claims json, overtakes boolean) RETURNS SETOF text
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  claim text;
  held bigint;
  is_open boolean;
BEGIN
  FOR claim, held IN SELECT * FROM json_each_text(claims) LOOP
    is_open := NOT pg_try_advisory_xact_lock(held);
    IF is_open AND (NOT overtakes OR NOT pg_try_advisory_xact_lock(hashtextextended(claim, 0)))
      OR EXISTS (SELECT 1 FROM completions WHERE token = claim) THEN
      RETURN NEXT claim;
    ELSIF is_open THEN
      DELETE FROM overtaken WHERE pg_try_advisory_xact_lock(key);
      INSERT INTO overtaken VALUES (claim, held) ON CONFLICT DO NOTHING;
    END IF;
  END LOOP;
END
$$;

-- Refuses the commit if the job was taken away from the attempt meanwhile. From here to the commit nobody else ends the
-- claim.
CREATE OR REPLACE FUNCTION check_completion() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  is_held boolean;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(NEW.token, 0));
  IF current_setting('transaction_isolation') = 'read committed' THEN
    is_held := EXISTS (SELECT 1 FROM jobs WHERE id = NEW.job
        AND ((state = 'active' AND token = NEW.token) OR ended = 'Completion:' || NEW.token))
      OR EXISTS (SELECT 1 FROM ended WHERE id = NEW.job AND ended.ended = 'Completion:' || NEW.token);
  ELSE
    BEGIN
      INSERT INTO overtaken VALUES (NEW.token, 0);  -- also refused for a row that cannot be seen from here
      DELETE FROM overtaken WHERE token = NEW.token;
      is_held := true;
    EXCEPTION WHEN unique_violation THEN
      is_held := false;
    END;
  END IF;
  IF NOT is_held THEN
    RAISE EXCEPTION 'the claim on job % is no longer held: its lease expired, or it was removed', NEW.job
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  RETURN NULL;
END
$$;
