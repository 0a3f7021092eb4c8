-- What is known of the attempts at a job.
-- KEYS[1] '{namespace}'; ARGV[1] job; then the fields
-- Returns {values of the fields, what is kept of attempts that have ended (see attempted.lua)}
--- @again
--- @include base

return { read(ARGV[1], unpack(ARGV, 2)), redis.call('LRANGE', P .. ':attempts:' .. ARGV[1], 0, -1) }
