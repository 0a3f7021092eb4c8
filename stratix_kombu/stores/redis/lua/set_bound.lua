-- Set a queue's limit or its bound of active jobs for all workers: set_limit and set_global_concurrency.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] 'limit' | 'global_concurrency'; ARGV[6] JSON or
--   a number; '' leaves it to the workers; ARGV[7] page
-- Returns {more, {}, ready}
--- @include base
--- @include send
--- @include reopen
--- @include despite_full

local queue = ARGV[4]
if ARGV[6] == '' then
  redis.call('HDEL', queue_key(queue, 'meta'), ARGV[5])
else
  redis.call('HSET', queue_key(queue, 'meta'), ARGV[5], ARGV[6])
end
reopen(queue, tonumber(ARGV[7]))
return { 0, {}, sent() }
