-- Workers present on a queue, a page at a time.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] cursor, first '0'; ARGV[3] about how many
-- Returns {cursor, {now, id, description, id, ...}}; the cursor is '0' after the last page
--- @again
--- @include base

local found = { now }
local page = redis.call('ZSCAN', queue_key(ARGV[1], 'workers'), ARGV[2], 'COUNT', ARGV[3])
for i = 1, #page[2], 2 do
  if tonumber(page[2][i + 1]) > now then
    found[#found + 1] = page[2][i]
    found[#found + 1] = redis.call('HGET', queue_key(ARGV[1], 'worker-info'), page[2][i]) or '{}'
  end
end
return { page[1], found }
