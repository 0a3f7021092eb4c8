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
  local v = read(id, 'state', 'token')
  local job = v[1] == 'active' and v[2] == ARGV[i + 1] and load(id)
  if not job then
    stale[#stale + 1] = id
  else
    bump(id, 'begun', -1)
    redis.call('HSET', job_key(id), 'token', '')
    back(job)
  end
end
return { release_page(tonumber(ARGV[4])), stale, ready }
