-- Workers that are present, a page of the known ones at a time.
-- KEYS[1] '{namespace}'; ARGV[1] of how many queues at most it is answered what each serves; ARGV[2] cursor, first '0'; ARGV[3]
--   about how many
-- Returns {cursor, {now, the clock that leads or '', when the first delayed job is due or -1, {id, what it says of itself,
--   {queue, number of jobs, queue, ...}, or how many queues it serves if these are more}, ...}}; the cursor is '0' after the
--   last page
--- @again
--- @include base
--- @include first

local _, due = first_queue('delayed')
local found = { now, redis.call('HGET', P .. ':leader', 'clock') or '', due or -1 }
local page = redis.call('ZSCAN', P .. ':processes', ARGV[2], 'COUNT', ARGV[3])
for i = 1, #page[2], 2 do
  local worker = page[2][i]
  if num(page[2][i + 1], 0) > now then
    local serves = P .. ':serves:' .. worker
    local size = redis.call('HLEN', serves)
    found[#found + 1] = { worker, redis.call('HGET', P .. ':process', worker) or '{}',
      size > tonumber(ARGV[1]) and size or redis.call('HGETALL', serves) }
  end
end
return { page[1], found }
