-- Give back jobs that were claimed and not begun.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] page; then per claim: id, token
-- Returns {more, stale ids, ready}
-- Events waiting
--- @include base
--- @include send
--- @include moves
--- @include release
--- @include ended

--- @include despite_full
local stale = {}
for i = 5, #ARGV, 2 do
  local id = ARGV[i]
  local v = read(id, F.state, F.token, F.attempts_started, F.ended, F.place)
  local mark = mark_of(HAND_BACK, ARGV[i + 1])
  local job = v[1] == 'active' and v[2] == ARGV[i + 1] and load(id)
  if job then
    redis.call('HSET', job_key(id), F.attempts_started, num(v[3], 1) - 1, F.token, '', F.ended, mark)
    job.ended = mark
    back(job, true, tonumber(v[5] or ''))
  elseif not was_ended(id, mark, v[1], v[2], v[4]) then
    stale[#stale + 1] = id
  end
end
local more = release_page(tonumber(ARGV[4]))
return { more, stale, sent() }, same_anyway(more)
