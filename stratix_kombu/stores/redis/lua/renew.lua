-- Extend leases, and the presence of a worker on all queues that it serves.
-- KEYS[1] '{namespace}'; ARGV[1] worker, or '' if it shows none; ARGV[2] what it says of itself, a JSON object; ARGV[3]
--   lease in ms; ARGV[4] number of queues asked about; ARGV[5] number of queues of which it says something else; then the
--   former; then the latter, each with that, a JSON object; then per claim: id, token
-- Returns {whether the worker was known, queues that are paused, lost tokens, cancelled tokens}
--- @again
--- @include base
--- @include expect
--- @include despite_full

local worker, lease, place = ARGV[1], tonumber(ARGV[3]), 5
local processes, infos = P .. ':processes', P .. ':process'
local paused, lost, cancelled = {}, {}, {}
for _ = 1, tonumber(ARGV[4]) do
  place = place + 1
  if redis.call('HEXISTS', queue_key(ARGV[place], 'meta'), 'paused') == 1 then
    paused[#paused + 1] = ARGV[place]
  end
end
local known = 1
if worker ~= '' then
  known = redis.call('HEXISTS', infos, worker)
  redis.call('ZADD', processes, now + lease, worker)
  redis.call('HSET', infos, worker, string.sub(ARGV[2], 1, -2) .. string.format(',"told_ms":%.0f}', now))
  local others = P .. ':process:' .. worker
  redis.call('DEL', others)
  for _ = 1, tonumber(ARGV[5]) do
    redis.call('HSET', others, ARGV[place + 1], ARGV[place + 2])
    place = place + 2
  end
  redis.call('PEXPIRE', others, 2 * lease)
  redis.call('PEXPIRE', P .. ':serves:' .. worker, 2 * lease + 120000) -- longer than the worker is known: see below
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', processes, '-inf', now - 60000, 'LIMIT', 0, 100)) do
    redis.call('ZREM', processes, gone)
    redis.call('HDEL', infos, gone)
    redis.call('DEL', P .. ':serves:' .. gone)
  end
end
for i = place + 1, #ARGV, 2 do
  local v = read(ARGV[i], F.state, F.token, F.queue, F.cancelled)
  if v[1] == 'active' and v[2] == ARGV[i + 1] then
    redis.call('ZADD', queue_key(v[3], 'active'), now + lease, ARGV[i])
    expect(v[3], 'active', now + lease)
    if v[4] then
      cancelled[#cancelled + 1] = ARGV[i + 1]
    end
  else
    lost[#lost + 1] = ARGV[i + 1]
  end
end
return { known, paused, lost, cancelled }
