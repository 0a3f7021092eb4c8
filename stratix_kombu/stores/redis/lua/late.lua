-- Queues in which a job has waited long, a page of the known ones at a time.
-- KEYS[1] '{namespace}'; ARGV[1] how long, in ms; ARGV[2] cursor, first '0'; ARGV[3] about how many
-- Returns {cursor, queues}; the cursor is '0' after the last page
--- @again
--- @include base
--- @include oldest

local latest, found = now - tonumber(ARGV[1]), {}
local page = redis.call('SSCAN', P .. ':queues', ARGV[2], 'COUNT', ARGV[3])
for _, queue in ipairs(page[2]) do
  local oldest = oldest_in(queue)
  if oldest and oldest <= latest and redis.call('HEXISTS', queue_key(queue, 'meta'), 'paused') == 0 then
    found[#found + 1] = queue
  end
end
return { page[1], found }
