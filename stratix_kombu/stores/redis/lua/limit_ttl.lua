-- When the next job of a queue may start by its limit.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] limit as JSON or ''
-- Returns milliseconds
--- @again
--- @include base
--- @include limits

local set = redis.call('HMGET', queue_key(ARGV[1], 'meta'), 'limit', 'held')
local limit = decode_limit(set[1] or ARGV[2])
local free = limit and start_at(limit, ARGV[1], false) or 0
return math.max(free, tonumber(set[2] or 0), now) - now
