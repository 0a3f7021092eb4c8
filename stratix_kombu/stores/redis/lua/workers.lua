-- Workers present on a queue, a page at a time.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] cursor, first '0'; ARGV[3] about how many
-- Returns {cursor, {now, id, number of jobs, what it says of itself, what else of this queue or '', id, ...}}; the cursor
--   is '0' after the last page
--- @again
--- @include base

local found = { now }
local page = redis.call('HSCAN', queue_key(ARGV[1], 'serving'), ARGV[2], 'COUNT', ARGV[3])
for i = 1, #page[2], 2 do
  local worker, n = page[2][i], #found
  if num(redis.call('ZSCORE', P .. ':processes', worker), 0) > now then
    found[n + 1], found[n + 2] = worker, page[2][i + 1]
    found[n + 3] = redis.call('HGET', P .. ':process', worker) or '{}'
    found[n + 4] = redis.call('HGET', P .. ':process:' .. worker, ARGV[1]) or ''
  end
end
return { page[1], found }
