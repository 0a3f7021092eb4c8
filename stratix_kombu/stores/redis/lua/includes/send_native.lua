-- Messages of native jobs.
local function suffix_of(priority)
  local place = 0
  for suffix in string.gmatch(ARGV[3] .. '|', '([^|]*)|') do
    if place == priority then
      return suffix
    end
    place = place + 1
  end
  return ''
end

-- The message of a native job; `forward` '1' for one that the caller completes by sending it.
local function send_native(id, queue, name, priority, message, forward)
  if ARGV[1] == '' or forward then
    local n = #ready
    ready[n + 1], ready[n + 2], ready[n + 3], ready[n + 4] = id, queue, name, priority
    ready[n + 5], ready[n + 6], ready[n + 7] = message or '', forward or '', ''
    return
  end
  marks = marks + 1
  -- It ends in the braces of its properties and its own.
  message = string.sub(message, 1, -3) .. ',"delivery_tag":"' .. string.format('%s.%x.%x', id, now_us, marks) .. '"}}'
  redis.call('LPUSH', ARGV[2] .. queue .. suffix_of(priority), message)
end
