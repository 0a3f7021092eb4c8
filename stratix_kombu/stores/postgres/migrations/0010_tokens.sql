-- How long a token of a bucket takes until the instant at which it is full: a limit that is changed has another time.
ALTER TABLE limits ADD COLUMN token_ms double precision;
