-- Append a line to a job's log.
-- KEYS[1] '{namespace}'; ARGV[1] job; ARGV[2] line; ARGV[3] lines kept
-- Returns the number of lines, or -1 if there is no such job
--- @include base

local key = job_key(ARGV[1])
if not read(ARGV[1], 'queue')[1] then
  return -1
end
redis.call('RPUSH', key .. ':logs', ARGV[2])
redis.call('LTRIM', key .. ':logs', -tonumber(ARGV[3]), -1)
return redis.call('LLEN', key .. ':logs')
