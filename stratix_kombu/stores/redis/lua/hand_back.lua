-- Give back jobs that were claimed and not begun.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; then per claim: id, token
-- Returns {0, stale ids, ready}
-- Events waiting
--- @include base
--- @include send
--- @include moves

local stale = {}
for i = 4, #ARGV, 2 do
  local id = ARGV[i]
  local v = redis.call('HMGET', job_key(id), 'state', 'token')
  if v[1] ~= 'active' or v[2] ~= ARGV[i + 1] then
    stale[#stale + 1] = id
  else
    redis.call('HINCRBY', job_key(id), 'begun', -1)
    redis.call('HSET', job_key(id), 'token', '')
    make_waiting(load(id))
  end
end
return { 0, stale, ready }
