-- End a worker's presence on a queue.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] worker
-- Returns 1
--- @again
--- @include base

redis.call('ZREM', queue_key(ARGV[1], 'workers'), ARGV[2])
redis.call('HDEL', queue_key(ARGV[1], 'worker-info'), ARGV[2])
return 1
