-- Queues with their counts and their last minutes, a page of the known ones at a time.
-- KEYS[1] '{namespace}'; ARGV[1] minutes; ARGV[2] of how many of these, the last ones, all is answered, and not the counts
--   alone; ARGV[3] cursor, first '0'; ARGV[4] about how many
-- Returns {cursor, {number of the current minute, per queue: {name, what status_of.lua says, what is kept of each minute
--   (see count.lua), oldest first, for how many ms it is held, limit or '', bound of active jobs or ''}, ...}}; the cursor is
--   '0' after the last page
--- @again
--- @include base
--- @include fold
--- @include status_of

local COUNTS_BYTES = 24
local this, minutes = math.floor(now / 60000), tonumber(ARGV[1])
local page = redis.call('SSCAN', P .. ':queues', ARGV[3], 'COUNT', ARGV[4])
local found = { this }
for _, queue in ipairs(page[2]) do
  fold(queue)
  local keys = {}
  for i = 1, minutes do
    keys[i] = minute_key(queue, this - minutes + i)
  end
  local tallies = redis.call('MGET', unpack(keys))
  for i = 1, minutes - tonumber(ARGV[2]) do
    tallies[i] = tallies[i] and string.sub(tallies[i], 1, COUNTS_BYTES)
  end
  local set = redis.call('HMGET', queue_key(queue, 'meta'), 'held', 'limit', 'global_concurrency')
  found[#found + 1] = { queue, status_of(queue), tallies, math.max(num(set[1], 0) - now, 0), set[2] or '', set[3] or '' }
end
return { page[1], found }
