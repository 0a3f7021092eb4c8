-- Records of a queue in one state, a page at a time: none is passed over that stays in the state.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] state; ARGV[3] page; ARGV[4] where to go on: '' or the cursor of the page
--   before; then the fields
-- Returns {cursor, id, values of the fields, id, ...}; the cursor is '' when all have been looked at
--- @again
--- @include base
--- @include cursor

local keys, found = sets_of(ARGV[1], ARGV[2]), { '' }
go_to(ARGV[4])
walk_on(keys, tonumber(ARGV[3]), function(id)
  found[#found + 1] = id
  found[#found + 1] = read(id, unpack(ARGV, 5))
end)
found[1] = here(keys)
return found
