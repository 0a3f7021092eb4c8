-- Records by id.
-- KEYS[1] '{namespace}'; ARGV[1] number of fields; then the fields; then ids
-- Returns the values of the fields for each id
--- @again
--- @include base

local fields = tonumber(ARGV[1])
local found = {}
for i = 2 + fields, #ARGV do
  found[#found + 1] = read(ARGV[i], unpack(ARGV, 2, 1 + fields))
end
return found
