-- What was counted of a queue in the last minutes.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] minutes
-- Returns {number of the current minute, what is kept of each (see count.lua), oldest first}
--- @again
--- @include base
--- @include fold

fold(ARGV[1])
local this, keys = math.floor(now / 60000), {}
for minute = this - tonumber(ARGV[2]) + 1, this do
  keys[#keys + 1] = minute_key(ARGV[1], minute)
end
return { this, redis.call('MGET', unpack(keys)) }
