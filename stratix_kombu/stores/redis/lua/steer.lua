-- Set a queue's limit and bound of active jobs for all workers, or hold it.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] limit as JSON or ''; ARGV[6] most active jobs
--   or ''; ARGV[7] hold for ms, or '' to set the others
-- Returns {0, {}, ready}
--- @include base
--- @include send
--- @include moves

local queue = ARGV[4]
local meta = queue_key(queue, 'meta')
if ARGV[7] ~= '' then
  redis.call('HSET', meta, 'held', string.format('%.0f', now + tonumber(ARGV[7])))
  return { 0, {}, ready }
end
for i, field in ipairs({ 'limit', 'most_active' }) do
  if ARGV[i + 4] == '' then
    redis.call('HDEL', meta, field)
  else
    redis.call('HSET', meta, field, ARGV[i + 4])
  end
end
while redis.call('EXISTS', queue_key(queue, 'crowd')) == 1 do
  let_in(queue)
end
return { 0, {}, ready }
