-- Adding jobs as most are: their ids are new, they wait at once, in the common order, and none brings a message of its own.
-- Written without functions, for making those that the other jobs need takes longer than all commands. It does what
-- add_plain, next_score, send_permit and tell do.
--- @include span
local jobs = (#ARGV - 6) / 5
local keys, extras, usual = {}, {}, ARGV[6] == '' and jobs <= 1000
for i = 7, usual and #ARGV or 0, 5 do
  local key, more = KEYS[1] .. ':job:' .. ARGV[i], ARGV[i + 4] ~= '' and cjson.decode(ARGV[i + 4])
  if extras[key] ~= nil or more and (more.dependencies or more.delay_ms or more.due_ms or more.deduplication or more.vacant
    or more.carries or more.group or more.message or more.forward) then
    usual = false
    break
  end
  extras[key] = more
  keys[#keys + 1] = key
  keys[#keys + 1] = key .. ':dependents'
end
if usual and redis.call('EXISTS', unpack(keys)) == 0 then
  local number, time = redis.call('INCRBY', KEYS[1] .. ':number', jobs) - jobs, redis.call('TIME')
  local now_us = time[1] * 1000000 + time[2]
  local now = math.floor(now_us / 1000)
  local ready, first = {}, 1
  for n = 1, jobs do
    local i, key = 2 + 5 * n, keys[2 * n - 1]
    local more, after = extras[key], extras[keys[2 * n + 1]]
    local queue, priority = more and more.queue or ARGV[4], more and more.priority or 0
    local base = KEYS[1] .. ':q:' .. queue .. ':'
    local fields = { F.name, ARGV[i + 1], F.data, ARGV[i + 2], F.queue, queue, F.created_ms, now, F.number, number + n,
      F.state, 'waiting' }
    if ARGV[i + 3] ~= '' then
      fields[13], fields[14] = F.options, ARGV[i + 3]
    end
    if more then
      --- @include kept
    end
    redis.call('HSET', key, unpack(fields))
    redis.call('XADD', base .. 'events', 'MAXLEN', '~', 10000, '*', E.name, 'waiting', E.job_id, ARGV[i],
      E.job_name, ARGV[i + 1])
    -- Those that follow each other in one queue and priority are put into order together.
    if n == jobs or (after and after.queue or ARGV[4]) ~= queue or (after and after.priority or 0) ~= priority then
      local some, scores, permits = n - first + 1, {}, {}
      local last = redis.call('HINCRBY', base .. 'meta', 'last:' .. priority, some)
      if last == some then -- the first ones ever
        redis.call('SADD', KEYS[1] .. ':queues', queue)
      end
      for m = first, n do
        local j, place = 2 + 5 * m, m - first + 1
        scores[2 * place - 1], scores[2 * place] = priority * SPAN + MIDDLE + last - some + place, ARGV[j]
        if ARGV[1] ~= '' then
          local tag = string.format('%x.%x', now_us, m)
          permits[place] = string.format(ARGV[1], tag, tag, ARGV[2] .. queue)
        else
          local r = #ready
          ready[r + R.id], ready[r + R.queue], ready[r + R.name], ready[r + R.priority] = ARGV[j], queue, ARGV[j + 1], priority
          ready[r + R.message], ready[r + R.forward], ready[r + R.group] = '', '', ''
        end
      end
      redis.call('ZADD', base .. 'order', unpack(scores))
      if permits[1] then
        redis.call('LPUSH', ARGV[2] .. queue .. string.match(ARGV[3], '^[^|]*'), unpack(permits))
      end
      first = n + 1
    end
  end
  return { 0, {}, ready, {}, now, number + 1, {} }
end
