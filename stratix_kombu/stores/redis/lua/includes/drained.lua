-- The event of a queue that has neither waiting nor active jobs; it is known that none is active, or in the order.
local function tell_if_drained(queue)
  local keys = { queue_key(queue, 'aside') }
  for priority = 0, 9 do
    keys[priority + 2] = queue_key(queue, 'waiting:' .. priority)
  end
  if redis.call('EXISTS', unpack(keys)) == 0 then
    tell(queue, 'drained')
  end
end
