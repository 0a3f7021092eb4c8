-- Messages of native jobs.
--- @include suffix
--- @include tag

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
  local before, tag = string.sub(message, 1, (tag_in(message) or -2) - 1), string.format('%s.%x.%x', id, now_us, marks)
  redis.call('LPUSH', ARGV[2] .. queue .. suffix_of(priority), before .. ',"delivery_tag":"' .. tag .. '"}}')
end
