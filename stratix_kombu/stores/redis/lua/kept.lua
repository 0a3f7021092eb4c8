-- Jobs as they are, for copying them; what they log and depend on is read apart.
-- KEYS[1] '{namespace}'; then ids
-- Returns per id the fields and values of its record (none if there is no job), its place in the order or '', what holds
--   its deduplication id or '', and how many jobs it depends on
--- @again
--- @include base
--- @include place

local found = {}
for _, id in ipairs(ARGV) do
  local record, queue = redis.call('HGETALL', job_key(id)), read(id, F.queue, F.priority, F.line, F.deduplication,
    F.throttle)
  local score = queue[1] and redis.call('ZSCORE', queue_key(queue[1], queue[3] and 'aside' or 'order'), id)
  local dedup = queue[4] or queue[5]
  found[#found + 1] = record
  found[#found + 1] = score and string.format('%.0f', tonumber(score) - score_of(num(queue[2], 0), 0)) or ''
  found[#found + 1] = queue[1] and dedup and redis.call('HGET', queue_key(queue[1], 'dedup'), dedup) or ''
  found[#found + 1] = redis.call('HLEN', job_key(id) .. ':dependencies')
end
return found
