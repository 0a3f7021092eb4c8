-- Claims as most are: of tasks that wait with a message of their own and were never begun, at once or since others have ended, in
-- a queue that nothing has closed, without limits. Without what other claims need, the making of which takes longer than all
-- commands. Returns nil if one of them is not such, else {now, {as claim.lua says of each, with the first of the values}}.
--- @include clock
local function claim_usual()
  local call, queue, jobs, ids, priority = redis.call, ARGV[1], {}, {}, nil
  if ARGV[4] ~= '' or ARGV[5] ~= '0' or ARGV[7] ~= '' then
    return nil
  end
  for i = 9, #ARGV do
    local id = ARGV[i]
    local key = P .. ':job:' .. id
    local v = redis.pcall('HMGET', key, --[[@new]], F.state, F.queue, F.keep_completed, F.keep_failed, F.max_stalled,
      F.waiting_ms)
    local fields = 1 -- its message
    for _, value in ipairs(v) do
      fields = value and fields + 1 or fields
    end
    priority = priority or v[2] or '0'
    if v[7] ~= 'waiting' or v[8] ~= queue or not v[1] or (v[2] or '0') ~= priority or jobs[id] or #ids == 1000
      or call('HLEN', key) ~= fields then
      return nil
    end
    v[13], jobs[id], ids[#ids + 1] = key, v, id
  end
  local base = P .. ':q:' .. queue .. ':'
  local meta, waiting, latest = base .. 'meta', base .. 'waiting:' .. priority, '0'
  local set = call('HMGET', meta, 'paused', 'limit', 'global_concurrency', 'held', 'by_limit', 'claimed:' .. priority)
  if set[1] or set[2] or set[3] or (tonumber(set[4]) or 0) > now then
    return nil
  end
  for _, score in ipairs(call('ZMSCORE', waiting, unpack(ids))) do
    if not score then -- it is no task
      return nil
    end
    latest = tonumber(score) > tonumber(latest) and score or latest
  end

  local now_text, until_text = string.format('%d', now), string.format('%d', now + ARGV[3])
  local claims, leases = {}, {}
  for n, id in ipairs(ids) do
    local v = jobs[id]
    call('HSET', v[13], F.state, 'active', F.token, ARGV[8] .. ':' .. (n - 1), F.attempts_started, '1', F.processed_ms, now_text,
      F.worker, ARGV[2], F.since, v[12] or v[5])
    call('XADD', base .. 'events', 'MAXLEN', '~', '10000', '*', E.name, 'active', E.job_id, id, E.job_name, v[1])
    leases[2 * n - 1], leases[2 * n] = until_text, id
    claims[n] = { id, '', now, 1, { unpack(v, 1, 6) } }
  end
  call('ZREM', waiting, unpack(ids))
  if set[5] then -- something was refused in this queue
    call('ZREM', base .. 'unsent', unpack(ids))
  end
  call('ZADD', base .. 'active', unpack(leases))
  call('ZADD', P .. ':first:active', 'LT', until_text, queue) -- see expect.lua
  if tonumber(latest) > (tonumber(set[6]) or 0) then
    call('HSET', meta, 'claimed:' .. priority, latest)
  end
  return { now, claims }
end
local claimed = claim_usual()
if claimed then
  return claimed
end
