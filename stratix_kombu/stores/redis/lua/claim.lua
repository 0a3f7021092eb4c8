-- Try to take the jobs that messages named.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] worker; ARGV[3] lease in ms; ARGV[4] the program's limit of the queue, JSON
--   or ''; ARGV[5] its bound of active jobs or 0; ARGV[6] that of a group's; ARGV[7] '' or JSON of what jobs say that do not
--   say it themselves: dead_letter, and of letters keep_completed and keep_failed; ARGV[8] request; then ids
-- Returns {now, {per id: {id, refusal, retry in ms} or {id, '', start, attempts begun, values of the fields that a claim brings;
--   of those that it does not have the last ones may be missing}}}
-- Events active
--- @again
--- @include claim_usual
--- @include base
--- @include readable
--- @include expect
--- @include start

local FIELDS = { --[[@claimed]], F.token, F.limit, F.waiting_ms, F.queue, F.state, F.dead_letter, F.group, F.line,
  F.forward, F.dispatches, F.deduplication }

-- Limits are rare, and making what they need takes longer than most commands.
local B
local function limits()
  if not B then
    --- @include books
  end
  return B
end

local queue, worker, lease, request = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[8]
local meta, active = queue_key(queue, 'meta'), queue_key(queue, 'active')
local set = redis.call('HMGET', meta, 'paused', 'limit', 'global_concurrency', 'held', 'owed')
local limit, most, held = set[2] or ARGV[4], num(set[3], tonumber(ARGV[5])), num(set[4], 0)
local group_bound, fallback = tonumber(ARGV[6]), ARGV[7] ~= '' and cjson.decode(ARGV[7]) or nil
local book = limit ~= '' and limits().open(limit) or nil
local running = most > 0 and redis.call('ZCARD', active) or 0
local answers, sent_at, limited, owing, crowded, granted = {}, {}, 0, 0, false, false

-- Why a waiting job may not start, and until when; `own` if it is its own limit that says so.
local function refusal(v, native)
  if set[1] then
    return 'paused', 0
  elseif most > 0 and running >= most then
    return 'crowded', 0
  elseif held > now then
    return 'limited', held
  end
  local closed = book and limits().closed(book)
  if closed then
    return 'limited', closed
  end
  local own = v[F.limit] and limits().open(v[F.limit])
  closed = own and limits().closed(own)
  if closed then
    return 'limited', closed, own.limit.key
  elseif group_bound > 0 and v[F.group] and not native then
    if num(redis.call('HGET', queue_key(queue, 'grouped'), v[F.group]), 0) >= group_bound then
      return 'crowded', 0
    end
  end
  return nil, own
end

-- The message of a native job is dropped: it is sent again when the queue, or its own limit, opens.
local function keep_unsent(id, v, opens, key)
  if v[F.line] and v[F.line] ~= key then
    redis.call('ZREM', queue_key(queue, 'unsent:' .. v[F.line]), id)
    redis.call('HDEL', job_key(id), F.line)
  end
  if not key then
    redis.call('ZADD', queue_key(queue, 'unsent'), 'NX', order(), id)
    return
  end
  redis.call('ZREM', queue_key(queue, 'unsent'), id)
  redis.call('ZADD', queue_key(queue, 'unsent:' .. key), 'NX', order(), id)
  redis.call('ZADD', queue_key(queue, 'unsent-lines'), 'LT', opens, key)
  redis.call('HSET', job_key(id), F.line, key)
  redis.call('HSET', meta, 'unsent_lines', 1)
end

local function refuse(id, v, native, why, opens, key)
  limited, crowded = limited + (why == 'limited' and 1 or 0), crowded or why == 'crowded'
  if native then
    keep_unsent(id, v, opens, key)
  else
    owing = owing + 1
  end
  if opens > 0 then
    expect(queue, 'opens', opens)
  end
  redis.call('HSET', meta, 'by_limit', ARGV[4], 'by_bound', ARGV[5])
  return { id, why, math.max(opens - now, 0) }
end

-- The claim on a waiting job. `v` is its record as it stands there.
local function grant(id, v, values, token, native, own)
  local at, score = now, nil
  local priority = v[F.priority] or '0'
  for _, one in ipairs({ book or false, own or false }) do
    at = one and math.max(at, limits().free(one)) or at
  end
  for _, one in ipairs({ book or false, own or false }) do
    if one then
      limits().start(one, at)
    end
  end
  if native then
    local dispatched = redis.call('ZSCORE', queue_key(queue, 'waiting:' .. priority), id)
    if dispatched and not v[F.dispatches] then
      sent_at[priority] = math.max(sent_at[priority] or 0, tonumber(dispatched))
    end
    redis.call('ZREM', queue_key(queue, 'waiting:' .. priority), id)
    redis.call('ZREM', queue_key(queue, 'unsent'), id)
    if v[F.line] then
      redis.call('ZREM', queue_key(queue, 'unsent:' .. v[F.line]), id)
    end
  else
    local list = queue_key(queue, v[F.line] and 'aside' or 'order')
    score = redis.call('ZSCORE', list, id)
    redis.call('ZREM', list, id)
    if v[F.line] then
      redis.call('ZREM', queue_key(queue, 'line:' .. v[F.line]), id)
    end
    if score then
      redis.call('ZADD', queue_key(queue, 'starts'), 'XX', 'GT', score, priority)
    else -- of an earlier release
      redis.call('ZREM', queue_key(queue, 'waiting:' .. priority), id)
    end
  end
  if v[F.line] then
    redis.call('HDEL', job_key(id), F.line)
  end
  redis.call('ZADD', active, at + lease, id)
  running, granted = running + 1, true
  return { id, '', at, begin(queue, job_key(id), id, v, token, at, worker, fallback, score), values }
end

for i = 9, #ARGV do
  local id, token = ARGV[i], request .. ':' .. (i - 9)
  local values, v = read(id, unpack(FIELDS)), {}
  for j, field in ipairs(FIELDS) do
    v[field] = values[j] or nil
  end
  -- A message may be long: it is not read.
  local native = v[F.state] == 'waiting' and (v[F.forward] or redis.call('HSTRLEN', job_key(id), F.message) > 0)
  local answer
  if v[F.queue] ~= queue then
    answer = { id, 'gone', 0 }
    if not v[F.queue] then
      --- @include lost
      drop(id, queue)
    end
  elseif not is_readable(v[F.queue], v[F.name], v[F.state], v[F.priority]) then
    --- @include lost
    drop(id, queue)
    answer = { id, 'gone', 0 }
  elseif v[F.state] == 'active' and v[F.token] == token then
    -- Asked again: the answer was lost.
    local starts = num(redis.call('HGET', job_key(id), F.processed_ms), now)
    redis.call('ZADD', active, math.max(starts, now) + lease, id)
    answer = { id, '', starts, num(v[F.attempts_started], 1), values }
  elseif v[F.state] ~= 'waiting' then
    answer = { id, 'not_waiting', 0 }
  else
    local why, opens, key = refusal(v, native)
    if why then
      answer = refuse(id, v, native, why, opens, key)
    else
      answer = grant(id, v, values, token, native, opens)
    end
  end
  answers[#answers + 1] = answer
end
if granted then
  expect(queue, 'active', now + lease)
end
for priority, at in pairs(sent_at) do
  if at > tonumber(redis.call('HGET', meta, 'claimed:' .. priority) or 0) then
    redis.call('HSET', meta, 'claimed:' .. priority, string.format('%.0f', at))
  end
end
if owing > 0 then
  local total = redis.call('ZCARD', queue_key(queue, 'order')) + redis.call('ZCARD', queue_key(queue, 'aside'))
  redis.call('HSET', meta, 'owed', math.min(num(set[5], 0) + owing, total))
end
if crowded then
  redis.call('HSET', meta, 'crowded', 1)
end
--- @include limited
return { now, answers }
