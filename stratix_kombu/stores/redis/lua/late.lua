-- Queues in which a job has waited long since it was dispatched, a page of the known ones at a time.
-- KEYS[1] '{namespace}'; ARGV[1] how long, in ms; ARGV[2] cursor, first '0'; ARGV[3] about how many
-- Returns {cursor, queues}; the cursor is '0' after the last page
--- @again
--- @include base

local latest, found = now_us - tonumber(ARGV[1]) * 1000, {}

local function waits(queue)
  for priority = 0, 9 do
    local first = redis.call('ZRANGE', queue_key(queue, 'waiting:' .. priority), 0, 0, 'WITHSCORES')
    if first[2] and tonumber(first[2]) <= latest then
      return redis.call('HEXISTS', queue_key(queue, 'meta'), 'paused') == 0
    end
  end
  return false
end

local page = redis.call('SSCAN', P .. ':queues', ARGV[2], 'COUNT', ARGV[3])
for _, queue in ipairs(page[2]) do
  if waits(queue) then
    found[#found + 1] = queue
  end
end
return { page[1], found }
