-- What an earlier release has left: jobs that are taken now, and were claimed by id then, waited in 'waiting:<priority>' as
-- native ones do, by the time of their dispatch; 'parked' and 'crowd' named those whose message was dropped. They are put
-- into the order, before all others of their priority, a page at a time.
--- @include place

local OLDEST = -2 ^ 42 -- the place before the first one

-- The task of a message that only names the job.
local PERMIT = '"task": ?"stratix%.job"'

local function put_old_job(queue, key, id, priority, sent)
  local v = read(id, F.message, F.forward, F.queue)
  if not v[3] or v[2] or (v[1] and not string.find(v[1], PERMIT)) then
    return
  end
  local meta = queue_key(queue, 'meta')
  redis.call('ZREM', key, id)
  local place = OLDEST + redis.call('HINCRBY', meta, 'old:' .. priority, 1)
  redis.call('ZADD', queue_key(queue, 'order'), score_of(priority, place), id)
  redis.call('HDEL', job_key(id), F.message, F.dispatches, 'since', 'reserved')
  redis.call('HSET', job_key(id), F.waiting_ms, math.floor(sent / 1000))
end

-- Go on with a queue; whether all jobs are where they belong.
local function put_old_jobs(queue, at, most)
  local keys, meta = {}, queue_key(queue, 'meta')
  for priority = 0, 9 do
    keys[priority + 1] = queue_key(queue, 'waiting:' .. priority)
  end
  local priority, after = string.match(at or '0 -inf', '^(%d) (%S+)$')
  priority = tonumber(priority)
  if redis.call('EXISTS', unpack(keys)) == 0 then
    at = 'none'
  end
  while at ~= 'none' and most > 0 do
    local page = redis.call('ZRANGEBYSCORE', keys[priority + 1], after, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
    for i = 1, #page, 2 do
      put_old_job(queue, keys[priority + 1], page[i], priority, tonumber(page[i + 1]))
    end
    if #page == 2 * most then
      after = '(' .. page[#page]
    else
      priority, after = priority + 1, '-inf'
    end
    most = most - #page / 2
    at = priority > 9 and 'none' or string.format('%d %s', priority, after)
  end
  if at == 'none' then
    redis.call('UNLINK', queue_key(queue, 'parked'), queue_key(queue, 'crowd'))
  end
  redis.call('HSET', meta, 'old', at)
  return at == 'none'
end
