-- Try to take the jobs that messages named.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] worker; ARGV[3] lease in ms; ARGV[4] the queue's limit, JSON or '';
-- ARGV[5] most active jobs or 0; ARGV[6] request; ARGV[7] '' or JSON of what jobs say that do not say it
--   themselves: dead, and of letters keep_completed and keep_failed; then ids
-- Returns one entry per id: {id, refusal, retry in ms, 1 if it stays} or {id, '', token, fields of a claim ...}, see records.claim_of
-- Events active | delayed
--- @again
--- @include base
--- @include readable
--- @include expect

-- Limits are rare, and making what they need takes longer than most commands.
local ask_limits
local function limits()
  if not ask_limits then
    --- @include limits
    ask_limits = { decode = decode_limit, ask = ask }
  end
  return ask_limits
end

local queue, worker, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local set = redis.call('HMGET', queue_key(queue, 'meta'), 'paused', 'limit', 'global_concurrency', 'held')
local paused = set[1]
local queue_limit = set[2] or ARGV[4] ~= '' and ARGV[4] or nil
queue_limit = queue_limit and limits().decode(queue_limit)
local global_concurrency = num(set[3], tonumber(ARGV[5]))
local held = num(set[4], 0)
local request = ARGV[6]
local active = queue_key(queue, 'active')
local running = global_concurrency > 0 and redis.call('ZCARD', active) or 0
local claimed = {}
local limited, granted = 0, nil
local answers = {}

local fallback = ARGV[7] ~= '' and cjson.decode(ARGV[7])

for i = 8, #ARGV do
  local id = ARGV[i]
  local key = job_key(id)
  local token = request .. ':' .. (i - 8)
  local v = read(id, 'token', 'limit', 'reserved', 'since', 'queue', 'state', 'name', 'data', 'opts',
    'prio', 'created', 'due', 'made', 'begun', 'max', 'stalled', 'pending', 'optional', 'progress', 'reason', 'trace',
    'number', 'kind', 'dead')
  local answer
  if not v[5] or v[5] ~= queue then
    if not v[5] then
      --- @include lost
      drop(id, queue)
    end
    answer = { id, 'gone', 0 }
  elseif not is_readable(v[5], v[7], v[6], v[10]) then
    --- @include lost
    drop(id, queue)
    answer = { id, 'gone', 0 }
  elseif v[6] == 'active' and v[1] == token then
    -- Asked again: the answer was lost.
    local starts = num(redis.call('HGET', key, 'started'), now)
    redis.call('ZADD', active, math.max(starts, now) + lease, id)
    answer = { id, '', token, v[7], v[8], v[9], v[10], v[11], v[12], v[13], num(v[14], 1), v[15], v[16], v[17], v[18],
      v[19], v[20], v[21], starts, v[22], v[23] }
  elseif v[6] ~= 'waiting' then
    answer = { id, 'not_waiting', 0 }
  elseif paused then
    redis.call('ZADD', queue_key(queue, 'parked'), 'NX', order(), id)
    answer = { id, 'paused', 0 }
  elseif global_concurrency > 0 and running >= global_concurrency then
    redis.call('ZADD', queue_key(queue, 'crowd'), 'NX', order(), id)
    answer = { id, 'crowded', 0 }
  else
    local waiting = queue_key(queue, 'waiting:' .. (v[10] or '0'))
    local told = { starts = now }
    if queue_limit or v[2] or held > now then
      told = limits().ask(queue_limit, limits().decode(v[2]), queue, id, v[3], held)
    end
    if told.again then
      limited = limited + 1
    end
    if told.stays then
      answer = { id, 'limited', told.again - now, 1 }
    elseif told.again then
      redis.call('ZREM', waiting, id)
      --- @include moves_claim
      delay_limited(queue, id, v[7], told.again, told.spread)
      answer = { id, 'limited', told.again - now }
    else
      local since = num(v[4])
      if not since then
        since = tonumber(redis.call('ZSCORE', waiting, id)) or now_us
        local priority = v[10] or '0'
        if since > (claimed[priority] or 0) then
          claimed[priority] = since
        end
      end
      local waited = math.max(told.starts - math.floor(since / 1000), 0)
      local begun = num(v[14], 0) + 1
      redis.call('ZREM', waiting, id)
      redis.call('ZADD', active, told.starts + lease, id)
      granted = true
      running = running + 1
      if global_concurrency > 0 then
        redis.call('ZREM', queue_key(queue, 'crowd'), id)
      end
      redis.call('HSET', key, 'state', 'active', 'token', token, 'begun', begun, 'started',
        told.starts, 'worker', worker, 'waited', waited)
      if fallback and fallback.dead and not v[24] then
        redis.call('HSET', key, 'dead', fallback.dead)
      end
      for _, field in ipairs(fallback and v[23] == 'letter' and { 'keep_completed', 'keep_failed' } or {}) do
        if fallback[field] then
          redis.call('HSET', key, field, fallback[field])
        end
      end
      if v[3] then
        redis.call('HDEL', key, 'reserved')
      end
      tell(queue, 'active', id, v[7])
      answer = { id, '', token, v[7], v[8], v[9], v[10], v[11], v[12], v[13], begun, v[15], v[16], v[17], v[18], v[19],
        v[20], v[21], told.starts, v[22], v[23] }
    end
  end
  answers[#answers + 1] = answer
end
if granted then
  expect(queue, 'active', now + lease)
end
for priority, sent in pairs(claimed) do
  local meta = queue_key(queue, 'meta')
  if sent > tonumber(redis.call('HGET', meta, 'claimed:' .. priority) or 0) then
    redis.call('HSET', meta, 'claimed:' .. priority, string.format('%.0f', sent))
  end
end
if limited > 0 then
  --- @include count
  count(queue, LIMITED, limited)
end
return { now, answers }
