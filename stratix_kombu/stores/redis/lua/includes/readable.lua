local STATES = { waiting = true, active = true, delayed = true, blocked = true, completed = true, failed = true }

-- Whether state and priority are such that the lists of the job are known.
local function is_readable(queue, name, state, priority)
  priority = tonumber(priority or 0)
  return queue and name and STATES[state] and priority and priority >= 0 and priority <= 9 and priority % 1 == 0
end
