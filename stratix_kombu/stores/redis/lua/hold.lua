-- Let no job of a queue start for a while. A longer hold is not shortened; 0 lifts it.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] for how many ms; ARGV[6] page
-- Returns {0, {}, ready}
--- @include base
--- @include send
--- @include reopen
--- @include despite_full

local meta, queue = queue_key(ARGV[4], 'meta'), ARGV[4]
if ARGV[5] == '0' then
  redis.call('HDEL', meta, 'held')
else
  local held = math.max(num(redis.call('HGET', meta, 'held'), 0), now + tonumber(ARGV[5]))
  redis.call('HSET', meta, 'held', string.format('%.0f', held))
end
reopen(queue, tonumber(ARGV[6]))
return { 0, {}, sent() }
