-- When the next job of a queue may start by its limit.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] limit as JSON or ''
-- Returns milliseconds
--- @again
--- @include base
local B
--- @include books

local set = redis.call('HMGET', queue_key(ARGV[1], 'meta'), 'limit', 'held')
local book = B.open(set[1] or ARGV[2])
local free = book and B.free(book) or 0
return math.max(free, tonumber(set[2] or 0), now) - now
