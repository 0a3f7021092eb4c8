-- Sending what is owed when jobs may start again. In the queue's 'meta': `owed` permits were dropped although jobs wait;
-- `crowded` if a bound has refused one since all of that was sent; `by_limit` and `by_bound` are what the program that was
-- refused last said of the queue. 'unsent' are native jobs whose claim the queue refused, 'unsent:<key>' those that their
-- own limit refused, and 'unsent-lines' when that opens. The index 'first:opens' says when queues are to be looked at again.
--- @include load
--- @include expect
local B
--- @include books
--- @include lines

local function send_permits(queue, count)
  for _ = 1, count do
    send_permit(queue)
  end
end

local function waiting_in(queue)
  return redis.call('ZCARD', queue_key(queue, 'order')) + redis.call('ZCARD', queue_key(queue, 'aside'))
end

local function owed_now(queue)
  local owed = num(redis.call('HGET', queue_key(queue, 'meta'), 'owed'), 0)
  return owed > 0 and math.min(owed, waiting_in(queue)) or 0
end

local function set_owed(queue, owed)
  if owed > 0 then
    redis.call('HSET', queue_key(queue, 'meta'), 'owed', owed)
  else
    redis.call('HDEL', queue_key(queue, 'meta'), 'owed')
  end
end

-- From now on it is waited for its message to arrive.
local function send_again(job)
  redis.call('ZADD', state_key(job), order(), job.id)
  bump(job.id, F.dispatches, 1)
  send(job)
end

local function send_unsent(queue, count)
  local page = redis.call('ZPOPMIN', queue_key(queue, 'unsent'), count)
  for i = 1, #page, 2 do
    local job = load(page[i], queue)
    if job and job.state == 'waiting' and job.native then
      send_again(job)
    end
  end
end

-- Native jobs whose own limit has opened.
local function send_lines(queue, most)
  local is_empty = let_out(queue, 'unsent-lines', 'unsent:', most, 250, function(_, line, count)
    return may_start_of_limit(line, count)
  end, function(id)
    local job = load(id, queue)
    if job and job.state == 'waiting' and job.native then
      redis.call('HDEL', job_key(job.id), F.line)
      send_again(job)
    end
  end)
  if is_empty then
    redis.call('HDEL', queue_key(queue, 'meta'), 'unsent_lines')
  end
end

-- When the first line opens that does so after now.
local function next_line(queue, lines)
  local first = redis.call('ZRANGEBYSCORE', queue_key(queue, lines), string.format('(%.0f', now), '(+inf', 'WITHSCORES',
    'LIMIT', 0, 1)
  return tonumber(first[2])
end

local function earlier(one, other)
  return one and other and math.min(one, other) or one or other
end

-- Send what is owed and may start now, `most` at most; whether there is more of it.
local function reopen(queue, most)
  expected['opens' .. queue] = nil
  redis.call('ZREM', first_key('opens'), queue)
  local v = redis.call('HMGET', queue_key(queue, 'meta'), 'paused', 'held', 'limit', 'by_limit', 'global_concurrency',
    'by_bound', 'group_bound', 'unsent_lines')
  local owed, unsent, held = owed_now(queue), redis.call('EXISTS', queue_key(queue, 'unsent')) == 1, num(v[2], 0)
  set_owed(queue, owed)
  if v[1] or not (owed > 0 or unsent or v[8]) then
    return false
  elseif held > now then
    expect(queue, 'opens', held)
    return false
  end
  local left, bound = most, num(v[5], num(v[6], 0))
  if bound > 0 then
    left = math.min(left, math.max(bound - redis.call('ZCARD', queue_key(queue, 'active')), 0))
  end
  local book, opens = B.open(v[3] or v[4]), nil
  if book and left > 0 then
    left, opens = B.room(book, left)
    opens = opens > now and opens or nil
  end
  local ordered, permits = 0, 0
  if left > 0 then
    send_unsent(queue, left)
    if v[8] then
      send_lines(queue, left)
      local open = redis.call('ZCOUNT', queue_key(queue, 'unsent-lines'), '-inf', now) > 0
      opens = earlier(opens, open and now or next_line(queue, 'unsent-lines'))
    end
    if owed > 0 then
      bring_back(queue, math.min(left, owed), num(v[7], 0))
      ordered = redis.call('ZCARD', queue_key(queue, 'order'))
      permits = math.min(left, owed, ordered)
      owed = owed - permits
      set_owed(queue, owed)
      send_permits(queue, permits)
    end
  end
  if owed > 0 then
    opens = earlier(opens, next_line(queue, 'lines'))
  end
  unsent = redis.call('EXISTS', queue_key(queue, 'unsent')) == 1
  local open = owed > 0 and redis.call('ZCOUNT', queue_key(queue, 'lines'), '-inf', now) > 0
  local more = left == most and (unsent or open or (owed > 0 and ordered > permits))
  if more then
    opens = now
  elseif not (owed > 0 or unsent or redis.call('EXISTS', queue_key(queue, 'unsent-lines')) == 1) then
    opens = nil
  end
  if opens then
    expect(queue, 'opens', opens)
  end
  B.write() -- of limits that are new, or others than before
  return more
end

-- So many jobs of the queue are no longer active.
local function let_others_in(queue, count, crowded, unsent_lines)
  if crowded then
    send_unsent(queue, count)
  end
  local owed = owed_now(queue)
  local permits = math.min(count, owed)
  if permits > 0 then
    set_owed(queue, owed - permits)
    send_permits(queue, permits)
  end
  if crowded and owed == permits and redis.call('EXISTS', queue_key(queue, 'unsent')) == 0 then
    redis.call('HDEL', queue_key(queue, 'meta'), 'crowded')
  end
  if unsent_lines then
    expect(queue, 'opens', now)
  end
end
