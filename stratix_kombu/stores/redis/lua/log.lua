-- Append a line to a job's log.
-- KEYS[1] '{namespace}'; ARGV[1] job; ARGV[2] line; ARGV[3] lines kept
-- Returns the number of lines, or -1 if there is no such job
--- @include base

local key = job_key(ARGV[1])
if not read(ARGV[1], F.queue)[1] then
  return -1
end
local lines, keep = redis.call('RPUSH', key .. ':logs', ARGV[2]), tonumber(ARGV[3])
redis.call('LTRIM', key .. ':logs', -keep, -1)
redis.call('HINCRBY', key, 'logged', 1)
return math.min(lines, keep)
