-- What was counted of a queue since it has been there.
-- KEYS[1] '{namespace}'; ARGV[1] queue
-- Returns {what is kept of it (see count.lua) or '', names and their places as a flat list}
--- @again
--- @include base
--- @include fold

local queue = ARGV[1]
fold(queue)
return { redis.call('GET', queue_key(queue, 'totals')) or '', redis.call('HGETALL', queue_key(queue, 'names')) }
