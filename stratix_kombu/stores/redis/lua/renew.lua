-- Extend leases and a worker's presence.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] worker; ARGV[3] worker's description, a JSON object; ARGV[4] lease in ms;
-- ARGV[5] how long ago it proved that it takes messages, or ''; then per claim: id, token
-- Returns {paused, lost tokens, cancelled tokens}
--- @again
--- @include base
--- @include expect

local queue, lease = ARGV[1], tonumber(ARGV[4])
redis.call('SADD', P .. ':queues', queue)
redis.call('ZADD', queue_key(queue, 'workers'), now + lease, ARGV[2])
local info, proved = ARGV[3], nil
if ARGV[5] ~= '' then
  proved = now - tonumber(ARGV[5])
else
  local before = redis.call('HGET', queue_key(queue, 'worker-info'), ARGV[2])
  proved = num((decoded(before) or {}).proved_ms)
end
if proved then
  info = string.sub(info, 1, -2) .. string.format(',"proved_ms":%.0f}', proved)
end
redis.call('HSET', queue_key(queue, 'worker-info'), ARGV[2], info)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', queue_key(queue, 'workers'), '-inf', now - 60000, 'LIMIT', 0, 100)) do
  redis.call('ZREM', queue_key(queue, 'workers'), gone)
  redis.call('HDEL', queue_key(queue, 'worker-info'), gone)
end
local lost, cancelled = {}, {}
for i = 6, #ARGV, 2 do
  local v = read(ARGV[i], 'state', 'token', 'queue', 'cancel')
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
return { redis.call('HEXISTS', queue_key(queue, 'meta'), 'paused'), lost, cancelled }
