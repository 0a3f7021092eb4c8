local STATES = { waiting = true, active = true, delayed = true, blocked = true, completed = true, failed = true }

-- Whether state and priority are such that the lists of the job are known.
local function is_readable(queue, name, state, prio)
  prio = tonumber(prio or 0)
  return queue and name and STATES[state] and prio and prio >= 0 and prio <= 9 and prio % 1 == 0
end
