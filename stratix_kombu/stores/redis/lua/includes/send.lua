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

local function send(id, queue, name, priority)
  if ARGV[1] == '' then
    local n = #ready
    ready[n + 1], ready[n + 2], ready[n + 3], ready[n + 4] = id, queue, name, priority
    return
  end
  local list = ARGV[2] .. queue
  local tag = id .. '.' .. string.format('%.0f', order())
  local message = string.format(ARGV[1], id, id, cjson.encode(name), id, list, priority, tag)
  redis.call('LPUSH', list .. suffix_of(priority), message)
end
