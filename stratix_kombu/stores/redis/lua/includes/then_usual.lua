-- Tasks that completing jobs add, see complete_usual.lua: as most of those are, each brings a message of its own and waits at
-- once, under an id that no job has; or it is the next one of a chain, in the place of a vacant job that waits for that end alone.
--- @include vacant
--- @include successors
--- @include suffix
--- @include tag
local successors, jobs_at = {}, P .. ':job:'

-- Whether a vacant job depends on the one before it, so that nothing is to be done with those behind it.
local function follows(id, before)
  local v = redis.pcall('HMGET', jobs_at .. id, F.state, F.vacant)
  return v[1] == 'blocked' and v[2] and call('HEXISTS', jobs_at .. id .. ':dependencies', before) == 1
end

-- Whether a task is to take the place of a vacant job that waits for the completing job `ended` alone, and nobody else waits
-- for that.
local function is_next(new, ended)
  local id, carries = new[2], new[6].carries or {}
  local v = redis.pcall('HMGET', jobs_at .. id, F.state, F.vacant, F.queue, F.number, F.created_ms)
  if v[1] ~= 'blocked' or not (v[2] and v[3] and v[4] and v[5]) then
    return false
  end
  local edges = jobs_at .. id .. ':dependencies'
  local found = call('ZRANGE', jobs_at .. ended .. ':dependents', 0, 1, 'WITHSCORES')
  if found[1] ~= id or found[2] ~= '0' or found[3] or call('HLEN', edges) ~= 1
    or call('HGET', edges, ended) ~= (call('HGET', jobs_at .. ended, F.number) or '') .. ':'
    or carries[1] and not follows(carries[1], id) or carries[2] and not follows(carries[2], carries[1]) then
    return false
  end
  filled[ended], new.vacant = id, v
  return true
end

-- Whether this is such a task, new or the next one of a chain, which then is to be added.
local function is_task(new, ended)
  local key, more = jobs_at .. new[2], new[6]
  if not more.message or more.forward or more.dependencies or more.delay_ms or more.due_ms or more.deduplication or more.vacant
    or successors[key] or #successors == 1000 then
    return false
  end
  successors[key], successors[#successors + 1] = true, new
  if call('EXISTS', key, key .. ':dependents') == 0 then
    return not more.carries
  end
  return is_next(new, ended)
end

-- Whether all are, and their messages are put into the broker's lists here: a caller that sends them would not be told them again
-- when the answer is lost.
local function all_are_tasks()
  if ARGV[1] == '' then
    return false
  end
  for i = first, #ARGV, 6 do
    for _, new in ipairs(ARGV[i + 3] ~= '' and successors_of(ARGV[i + 3]) or {}) do
      if not is_task(new, ARGV[i]) then
        return false
      end
    end
  end
  return true
end

local function add_successors(now_text)
  for ended, id in pairs(filled) do
    call('DEL', jobs_at .. ended .. ':dependents', jobs_at .. id .. ':dependencies')
    call('ZREM', P .. ':flows', id)
    call('HDEL', jobs_at .. id, unpack(of_the_vacant))
    call('INCR', P .. ':graph')
  end
  for n, new in ipairs(successors) do
    local more, v = new[6], new.vacant or {}
    local queue, id, name, options, priority = new[1], new[2], new[3], new[5], more.priority or 0
    local base, place = P .. ':q:' .. queue .. ':', string.format('%d', now_us + n)
    local fields = { F.name, name, F.data, new[4], F.queue, queue, F.state, 'waiting', F.created_ms, v[5] or now_text,
      F.number, v[4] or call('INCR', P .. ':number') }
    if options ~= '' then
      fields[13], fields[14] = F.options, options
    end
    if new.vacant then
      call('ZREM', P .. ':q:' .. v[3] .. ':blocked', id)
      fields[#fields + 1], fields[#fields + 2] = F.waiting_ms, now_text
    end
    --- @include kept
    call('HSET', jobs_at .. id, unpack(fields))
    call('SADD', P .. ':queues', queue)
    call('XADD', base .. 'events', 'MAXLEN', '~', '10000', '*', E.name, 'waiting', E.job_id, id, E.job_name, name)
    call('ZADD', base .. 'waiting:' .. priority, place, id)
    call('LPUSH', ARGV[2] .. queue .. suffix_of(priority), tag_in(more.message) and more.message
      or string.sub(more.message, 1, -3) .. ',"delivery_tag":"' .. id .. '.' .. place .. '"}}') -- see send_native.lua
  end
end
