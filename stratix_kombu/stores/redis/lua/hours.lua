-- What was counted of a queue in the last hours, or of jobs of a name.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] hours; ARGV[3] name or ''
-- Returns {number of the current hour, what is kept of each (see count.lua), oldest first}
--- @again
--- @include base
--- @include fold

local queue, name = ARGV[1], ARGV[3]
fold(queue)
local number = name ~= '' and (redis.call('HGET', queue_key(queue, 'named'), name) or 'none') or nil
local this, keys = math.floor(now / 3600000), {}
for hour = this - tonumber(ARGV[2]) + 1, this do
  keys[#keys + 1] = hour_key(queue, hour, number)
end
return { this, redis.call('MGET', unpack(keys)) }
