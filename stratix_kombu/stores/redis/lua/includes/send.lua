-- Having messages sent: by the script itself if the broker's queues are on this server, else by the caller.
-- ARGV[1] message template or '', ARGV[2] prefix of broker queues, ARGV[3] key suffixes by priority, joined by '|'.
local ready = {}
local suffixes

local function suffix_of(priority)
  if priority == 0 then
    return ''
  end
  if not suffixes then
    suffixes = {}
    for one in string.gmatch(ARGV[3] .. '|', '([^|]*)|') do
      suffixes[#suffixes + 1] = one
    end
  end
  return suffixes[priority + 1] or ''
end

-- `message` is that of the job itself, if it has one; `forward` '1' for a job that the caller completes by sending it.
local function send(id, queue, name, priority, message, forward)
  if ARGV[1] == '' or forward then
    local n = #ready
    ready[n + 1], ready[n + 2], ready[n + 3], ready[n + 4] = id, queue, name, priority
    ready[n + 5], ready[n + 6] = message or '', forward or ''
    return
  end
  local list = ARGV[2] .. queue
  local tag = id .. '.' .. string.format('%.0f', order())
  if message then
    -- It ends in the braces of its properties and its own.
    message = string.sub(message, 1, -3) .. ',"delivery_tag":"' .. tag .. '"}}'
  else
    message = string.format(ARGV[1], id, id, cjson.encode(name), id, list, priority, tag)
  end
  redis.call('LPUSH', list .. suffix_of(priority), message)
end
