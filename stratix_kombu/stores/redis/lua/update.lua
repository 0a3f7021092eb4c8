-- Set a field that the user owns.
-- KEYS[1] '{namespace}'; ARGV[1] job; ARGV[2] 'progress' or 'data'; ARGV[3] value
-- Returns 1, or 0 if there is no such job
-- Events progress
--- @include base

local v = read(ARGV[1], F.queue, F.name)
if not v[1] then
  return 0
end
redis.call('HSET', job_key(ARGV[1]), ARGV[2], ARGV[3])
if ARGV[2] == 'progress' then
  tell(v[1], 'progress', ARGV[1], v[2], ARGV[3])
end
return 1
