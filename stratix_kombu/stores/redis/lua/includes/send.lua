-- Having messages sent: by the script itself if the broker's queues are on this server, else by the caller.
-- ARGV[1] template of a permit or '', ARGV[2] prefix of broker queues, ARGV[3] key suffixes by priority, joined by '|'.
-- Scripts answer what sent() answers: the parts of each at the places that R names; of a permit that names no job only the
-- queue.
local ready, permits, marks = {}, {}, 0
local let_in -- see ends.lua

local function send_permit(queue, id, name, priority, group)
  if ARGV[1] == '' then
    local n = #ready
    ready[n + R.id], ready[n + R.queue], ready[n + R.name], ready[n + R.priority] = id or '', queue, name or '', priority or 0
    ready[n + R.message], ready[n + R.forward], ready[n + R.group] = '', '', group or ''
    return
  end
  marks = marks + 1
  local list, tag = ARGV[2] .. queue .. string.match(ARGV[3], '^[^|]*'), string.format('%x.%x', now_us, marks)
  local messages = permits[list]
  if not messages then
    messages = {}
    permits[list] = messages
  end
  messages[#messages + 1] = string.format(ARGV[1], tag, tag, ARGV[2] .. queue)
end

local function send(job)
  if job.native then
    --- @include send_native
    send_native(job.id, job.queue, job.name, job.priority, job.message, job.forward)
  else
    send_permit(job.queue, job.id, job.name, job.priority, job.group)
  end
end

-- What the caller has to send.
local function sent()
  if let_in then
    let_in()
  end
  for list, messages in pairs(permits) do
    for first = 1, #messages, 1000 do
      redis.call('LPUSH', list, unpack(messages, first, math.min(first + 999, #messages)))
    end
  end
  return ready
end
