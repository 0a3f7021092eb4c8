-- How many workers are present on a queue: counted one by one as long as they are few, else those that are known.
local MOST_COUNTED = 500

local function present_on(queue)
  local serving, present = queue_key(queue, 'serving'), 0
  local known = redis.call('HLEN', serving)
  if known > MOST_COUNTED then
    return known
  end
  for _, worker in ipairs(known > 0 and redis.call('HKEYS', serving) or {}) do
    if num(redis.call('ZSCORE', P .. ':processes', worker), 0) > now then
      present = present + 1
    end
  end
  return present
end
