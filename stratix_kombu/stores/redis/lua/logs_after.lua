-- The lines of a job's log after some number of them.
-- KEYS[1] '{namespace}'; ARGV[1] job; ARGV[2] how many lines of all that were written are not wanted
-- Returns {lines that were written, lines}
--- @again
--- @include base

local logs = job_key(ARGV[1]) .. ':logs'
local kept = redis.call('LLEN', logs)
local written = math.max(tonumber(redis.call('HGET', job_key(ARGV[1]), 'logged') or 0), kept)
local wanted = math.min(written - tonumber(ARGV[2]), kept)
return { written, wanted > 0 and redis.call('LRANGE', logs, -wanted, -1) or {} }
