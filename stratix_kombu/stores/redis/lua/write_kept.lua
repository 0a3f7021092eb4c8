-- Write jobs as they were in another store; one that is known stays as it is.
-- KEYS[1] '{namespace}'; then per job: id, JSON of where it stands (see contents.py), number of fields and values, those,
--   number of lines of its log, those, number of its attempts, those as JSON
-- Returns nothing
--- @again
--- @include base
--- @include place
--- @include expect

local PART = 500 -- of what is given to one command

local function stand_in_order(queue, id, at)
  local starts, priority, place = queue_key(queue, 'starts'), at.priority, at.place
  local started = redis.call('ZSCORE', starts, priority)
  if at.group and not started then
    local first = redis.call('ZRANGEBYSCORE', queue_key(queue, 'order'), priority * SPAN, (priority + 1) * SPAN - 1,
      'WITHSCORES', 'LIMIT', 0, 1)[2]
    local score = score_of(priority, place)
    redis.call('ZADD', starts, math.min(tonumber(first or score), score) - 1, priority)
    redis.call('HSET', queue_key(queue, 'meta'), 'fair', 1)
  elseif started then
    redis.call('ZADD', starts, 'LT', score_of(priority, place) - 1, priority)
  end
  local meta, last = queue_key(queue, 'meta'), place
  if at.group then
    redis.call('ZADD', queue_key(queue, 'groups:' .. priority), 'GT', place, at.group)
    last = tonumber(redis.call('ZSCORE', starts, priority)) - score_of(priority, 0)
  end
  if last > num(redis.call('HGET', meta, 'last:' .. priority), 0) then
    redis.call('HSET', meta, 'last:' .. priority, string.format('%.0f', last))
  end
  redis.call('ZADD', queue_key(queue, 'order'), score_of(priority, place), id)
end

-- After all that are there with at least that score, and below `limit`.
local function score_after(key, score, limit)
  local last = redis.call('ZREVRANGEBYSCORE', key, limit, score, 'WITHSCORES', 'LIMIT', 0, 1)[2]
  return last and tonumber(last) + 1 or score
end

local function stand(id, at)
  local queue, key = at.queue, queue_key(at.queue, at.state)
  if at.state == 'delayed' then
    redis.call('ZADD', key, score_after(key, at.due * 1000, at.due * 1000 + 999), id)
    expect(queue, 'delayed', at.due)
  elseif at.state ~= 'waiting' then
    redis.call('ZADD', key, order(), id)
  elseif at.native then
    key = queue_key(queue, 'waiting:' .. at.priority)
    redis.call('ZADD', key, score_after(key, 1, '+inf'), id) -- as if it had been dispatched long ago
  else
    stand_in_order(queue, id, at)
  end
end

local function hold(queue, id, at)
  local key, holder = queue_key(queue, 'dedup'), incarnation(id, at.number)
  if at.till > 0 then
    holder = string.format('%.0f', at.till) .. holder
    redis.call('ZADD', queue_key(queue, 'dedup-until'), at.till, at.dedup)
  end
  redis.call('HSET', key, at.dedup, holder)
end

local function values(first, count, command, key)
  for from = first, first + count - 1, PART do
    redis.call(command, key, unpack(ARGV, from, math.min(from + PART, first + count) - 1))
  end
  return first + count
end

local next_one = 1
while ARGV[next_one] do
  local id, at = ARGV[next_one], cjson.decode(ARGV[next_one + 1])
  local key, count = job_key(id), tonumber(ARGV[next_one + 2])
  local is_new = redis.call('EXISTS', key) == 0
  local lines = next_one + 3 + count
  local attempts = lines + 1 + tonumber(ARGV[lines])
  if is_new then
    values(next_one + 3, count, 'HSET', key)
    values(lines + 1, tonumber(ARGV[lines]), 'RPUSH', key .. ':logs')
    values(attempts + 1, tonumber(ARGV[attempts]), 'RPUSH', P .. ':attempts:' .. id)
    redis.call('SADD', P .. ':queues', at.queue)
    stand(id, at)
    if at.expires then
      redis.call('ZADD', P .. ':expiring', at.expires, id)
    end
    if at.dedup then
      hold(at.queue, id, at)
    end
    if at.number > num(redis.call('GET', P .. ':number'), 0) then
      redis.call('SET', P .. ':number', string.format('%.0f', at.number))
    end
  end
  next_one = attempts + 1 + tonumber(ARGV[attempts])
end
