-- Let no job of a queue start for a while.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] for how many ms
-- Returns 1
--- @again
--- @include base

redis.call('HSET', queue_key(ARGV[1], 'meta'), 'held', string.format('%.0f', now + tonumber(ARGV[2])))
return 1
