-- Give back jobs that were claimed and not begun.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] page; then per claim: id, token
-- Returns {more, stale ids, ready}
-- Events waiting
--- @include base
--- @include send
--- @include moves
--- @include release

local stale = {}
for i = 5, #ARGV, 2 do
  local id = ARGV[i]
  local v = redis.call('HMGET', job_key(id), 'state', 'token')
  if v[1] ~= 'active' or v[2] ~= ARGV[i + 1] then
    stale[#stale + 1] = id
  else
    redis.call('HINCRBY', job_key(id), 'begun', -1)
    redis.call('HSET', job_key(id), 'token', '')
    back(load(id))
  end
end
return { release_page(tonumber(ARGV[4])), stale, ready }
