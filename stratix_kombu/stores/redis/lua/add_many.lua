-- Add jobs that all wait at once, in the common order of one queue, under ids that were made for them; none brings a message of
-- its own. Written without functions, and with a text where it is used twice: see add_fresh.lua.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] how many jobs; ARGV[3] the broker's list for their permits, or '' if the caller
--   sends them; ARGV[4] what a permit is before its tag, ARGV[5] between the tag and the tag again, ARGV[6] after it; ARGV[7] how
--   many priorities; per priority: it, how many jobs; then rows of jobs that are alike: priority, how many jobs, how many
--   arguments with further fields of their records, those; per job: id, name, data
-- Returns {when they were added, number of the first}; the numbers follow each other
-- Events waiting
--- @include span
local call, P, queue = redis.call, KEYS[1], ARGV[1]
local jobs, base, count = P .. ':job:', P .. ':q:' .. queue .. ':', tonumber(ARGV[2])
local first, time, at, places = call('INCRBY', P .. ':number', count) - count + 1, call('TIME'), 8, {}
local created = time[1] .. string.format('%03d', math.floor(time[2] / 1000))
local tag = string.format('%x.', time[1] * 1000000 + time[2])
for _ = 1, ARGV[7] do
  local last = call('HINCRBY', base .. 'meta', 'last:' .. ARGV[at], ARGV[at + 1])
  if last == tonumber(ARGV[at + 1]) then -- the first ones ever
    call('SADD', P .. ':queues', queue)
  end
  places[ARGV[at]] = ARGV[at] * SPAN + MIDDLE + last - ARGV[at + 1]
  at = at + 2
end
local scores, permits, n = {}, {}, 0
while n < count do
  local priority, alike, from = ARGV[at], ARGV[at + 1], at + 3
  local place, till = places[priority], at + 2 + ARGV[at + 2]
  at = till + 1
  for i = at, at + 3 * alike - 1, 3 do
    local id, number = ARGV[i], string.format('%.0f', first + n)
    n, place = n + 1, place + 1
    call('HSET', jobs .. id, F.created_ms, created, F.number, number, F.state, 'waiting', F.name, ARGV[i + 1], F.data,
      ARGV[i + 2], F.queue, queue, unpack(ARGV, from, till))
    call('XADD', base .. 'events', 'MAXLEN', '~', '10000', '*', E.name, 'waiting', E.job_id, id, E.job_name, ARGV[i + 1])
    scores[2 * n - 1], scores[2 * n] = place, id
    permits[n] = ARGV[4] .. tag .. number .. ARGV[5] .. tag .. number .. ARGV[6]
  end
  places[priority], at = place, at + 3 * alike
end
call('ZADD', base .. 'order', unpack(scores))
if ARGV[3] ~= '' then
  call('LPUSH', ARGV[3], unpack(permits))
end
return { created, first }
