-- What a worker holds on a queue, a page of its active jobs at a time.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] worker; ARGV[3] cursor, first '0'; ARGV[4] about how many
-- Returns {cursor, {id, token, id, ...}}; the cursor is '0' after the last page
--- @again
--- @include base

local found = {}
local page = redis.call('ZSCAN', queue_key(ARGV[1], 'active'), ARGV[3], 'COUNT', ARGV[4])
for i = 1, #page[2], 2 do
  local id = page[2][i]
  local v = read(id, F.worker, F.token)
  if v[1] == ARGV[2] then
    found[#found + 1] = id
    found[#found + 1] = v[2]
  end
end
return { page[1], found }
