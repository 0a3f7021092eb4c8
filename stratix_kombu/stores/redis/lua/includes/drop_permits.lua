-- Take permits out of the broker's list, for jobs that are taken without; how many. Messages of native jobs, and what others
-- have put there, stay where they are.
local function drop_permits(list, count)
  local dropped, kept = 0, {}
  local found = redis.call('RPOP', list, count)
  for _, message in ipairs(found or {}) do
    if string.find(message, '"task": ?"stratix%.job"') then
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
