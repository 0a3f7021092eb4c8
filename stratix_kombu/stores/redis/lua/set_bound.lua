-- Set a queue's limit or its bound of active jobs for all workers: set_limit and set_global_concurrency.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] 'limit' | 'global_concurrency'; ARGV[6] JSON or
--   a number; '' leaves it to the workers
-- Returns {0, {}, ready}
--- @include base
--- @include send
--- @include moves

local queue = ARGV[4]
if ARGV[6] == '' then
  redis.call('HDEL', queue_key(queue, 'meta'), ARGV[5])
else
  redis.call('HSET', queue_key(queue, 'meta'), ARGV[5], ARGV[6])
end
while redis.call('EXISTS', queue_key(queue, 'crowd')) == 1 do
  let_in(queue)
end
return { 0, {}, ready }
