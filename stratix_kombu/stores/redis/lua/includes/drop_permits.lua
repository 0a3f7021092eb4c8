-- Take permits out of the broker's list, for jobs that are taken without; how many. Messages of native jobs, and what others
-- have put there, stay where they are.
local function drop_permits(list, count)
  local dropped, kept, found = 0, {}, nil
  if count == 1 then
    found = { redis.call('RPOP', list) or nil }
  else
    found = redis.call('RPOP', list, count) or {}
  end
  for _, message in ipairs(found) do
    -- A pattern would take longer than the rest.
    if string.find(message, '"task":"stratix.job"', 1, true) or string.find(message, '"task": "stratix.job"', 1, true) then
      dropped = dropped + 1
    else
      table.insert(kept, 1, message)
    end
  end
  if kept[1] then
    redis.call('RPUSH', list, unpack(kept))
  end
  return dropped
end
