-- One clock leads, and sees what is due.
-- KEYS[1] '{namespace}'; ARGV[1] clock; ARGV[2] how long it rests at most, in ms; ARGV[3] margin in ms; ARGV[4] 1 if another
--   may lead in its place
-- Returns {leads, ms until the next thing is due or -1, jobs due, slots due, finished jobs to be removed}, or {0, ms until
--   the time of the one that leads is over}
--- @again
local leader, clock, most, margin = KEYS[1] .. ':leader', ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local v = redis.call('HMGET', leader, 'clock', 'yields')
if v[1] and v[1] ~= clock and not v[2] then
  return { 0, math.max(redis.call('PTTL', leader), 1) }
end
--- @include base
--- @include first
--- @include release

local next_at = math.huge
-- Whether what comes first is due. The next instant ahead is kept.
local function is_due(at)
  if at and at > now then
    next_at = math.min(next_at, at)
  end
  return at and at <= now and 1 or 0
end

local _, first_delayed = first_queue('delayed')
local _, first_opens = first_queue('opens')
local jobs = math.max(is_due(first_delayed), is_due(first_opens))
local slots = is_due(tonumber(redis.call('ZRANGE', P .. ':due', 0, 0, 'WITHSCORES')[2]))
if slots == 1 then -- it may be one that this clock cannot fire
  local after = '(' .. string.format('%.0f', now)
  is_due(tonumber(redis.call('ZRANGEBYSCORE', P .. ':due', after, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]))
end
if redis.call('EXISTS', unpack(of_worklists)) > 0 then
  jobs = 1
end
local expiring = tonumber(redis.call('ZRANGE', P .. ':expiring', 0, 0, 'WITHSCORES')[2])
local rest = math.min(next_at - now, most)
redis.call('DEL', P .. ':wake:' .. clock)
redis.call('HSET', leader, 'clock', clock, 'rests', string.format('%.0f', now + rest))
if ARGV[4] == '1' then
  redis.call('HSET', leader, 'yields', 1)
else
  redis.call('HDEL', leader, 'yields')
end
redis.call('PEXPIRE', leader, (jobs + slots > 0 and margin or rest) + margin)
return { 1, next_at < math.huge and next_at - now or -1, jobs, slots, expiring and expiring <= now and 1 or 0 }
