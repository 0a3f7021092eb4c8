-- Messages of native jobs.
--- @include suffix

-- The message of a native job; `forward` '1' for one that the caller completes by sending it.
local function send_native(id, queue, name, priority, message, forward)
  if ARGV[1] == '' or forward then
    local n = #ready
    ready[n + R.id], ready[n + R.queue], ready[n + R.name], ready[n + R.priority] = id, queue, name, priority
    ready[n + R.message], ready[n + R.forward], ready[n + R.group] = message or '', forward or '', ''
    return
  end
  marks = marks + 1
  -- It ends in the braces of its properties and its own.
  message = string.sub(message, 1, -3) .. ',"delivery_tag":"' .. string.format('%s.%x.%x', id, now_us, marks) .. '"}}'
  redis.call('LPUSH', ARGV[2] .. queue .. suffix_of(priority), message)
end
