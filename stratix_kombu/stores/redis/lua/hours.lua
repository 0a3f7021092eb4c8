-- What was counted of a queue in the last hours.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] hours
-- Returns {number of the current hour, what is kept of each (see count.lua), oldest first}
--- @again
--- @include base
--- @include fold

fold(ARGV[1])
local this, keys = math.floor(now / 3600000), {}
for hour = this - tonumber(ARGV[2]) + 1, this do
  keys[#keys + 1] = hour_key(ARGV[1], hour)
end
return { this, redis.call('MGET', unpack(keys)) }
