-- Jobs that are set aside, in place: '<queue>:line:<name>' holds those that one thing keeps from starting, 't:<key of a
-- limit>' or 'g:<group>'; '<queue>:lines' says when each may be looked at again; '<queue>:aside' holds all of them.
-- Whoever includes this has B of books.lua.

local function comes_before(score, id, other_score, other)
  if score ~= other_score then
    return score < other_score
  end
  for i = 1, math.min(#id, #other) do
    local a, b = string.byte(id, i), string.byte(other, i)
    if a ~= b then
      return a < b
    end
  end
  return #id < #other
end

-- Whether a job in the line stands before this one.
local function is_behind(queue, name, score, id)
  local first = redis.call('ZRANGE', queue_key(queue, 'line:' .. name), 0, 0, 'WITHSCORES')
  return first[1] and comes_before(tonumber(first[2]), first[1], tonumber(score), id)
end

-- `opens`: when the line may be looked at again, if that is known.
local function put_aside(queue, id, score, name, opens)
  redis.call('ZADD', queue_key(queue, 'aside'), score, id)
  redis.call('ZADD', queue_key(queue, 'line:' .. name), score, id)
  redis.call('HSET', job_key(id), F.line, name)
  if opens then
    redis.call('ZADD', queue_key(queue, 'lines'), 'LT', opens, name)
  else
    redis.call('ZADD', queue_key(queue, 'lines'), 'NX', '+inf', name)
  end
  redis.call('HSET', queue_key(queue, 'meta'), 'lined', 1)
end

-- How many of a line may start now whose limit is that of its first job, and when to look at it again after these.
local function may_start_of_limit(line, most)
  local first = redis.call('ZRANGE', line, 0, 0)[1]
  local book = first and B.open(read(first, F.limit)[1])
  if not book then
    return most, 0 -- it has no record any more, or no limit: the next take will see that
  end
  return B.room(book, most)
end

-- The same of any line of jobs that are taken.
local function may_start(queue, name, line, most, bound)
  if string.sub(name, 1, 2) ~= 'g:' then
    return may_start_of_limit(line, most)
  elseif bound == 0 then
    return most, 0
  end
  local active = num(redis.call('HGET', queue_key(queue, 'grouped'), string.sub(name, 3)), 0)
  local free = math.max(bound - active, 0)
  return free, free <= most and '+inf' or 0
end

-- Lines that have opened let out their first jobs: of each as many as `may_start` says, `most` at most, and of all about
-- `left`; `out` is called for each, with where it stood. `lines` is the index that says when they open, `prefix` is that of
-- their keys. Whether no line is left.
local function let_out(queue, lines, prefix, most, left, may_start, out)
  local index = queue_key(queue, lines)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, left)) do
    if left <= 0 then
      break
    end
    local line, count = queue_key(queue, prefix .. name), math.min(most, left)
    local may, again = may_start(name, line, count)
    local page = may > 0 and redis.call('ZPOPMIN', line, math.min(count, may)) or {}
    for i = 1, #page, 2 do
      out(page[i], page[i + 1])
    end
    left = left - math.max(#page / 2, 1)
    if redis.call('EXISTS', line) == 1 then
      redis.call('ZADD', index, again, name)
    else
      redis.call('ZREM', index, name)
    end
  end
  return redis.call('EXISTS', index) == 0
end

-- The first jobs of lines that have opened go back into the order: of each as many as may start now, and `most` at most.
local function bring_back(queue, most, bound)
  local is_empty = let_out(queue, 'lines', 'line:', most, 250, function(name, line, count)
    return may_start(queue, name, line, count, bound)
  end, function(id, score)
    redis.call('ZADD', queue_key(queue, 'order'), score, id)
    redis.call('ZREM', queue_key(queue, 'aside'), id)
    redis.pcall('HDEL', job_key(id), F.line)
  end)
  if is_empty then
    redis.call('HDEL', queue_key(queue, 'meta'), 'lined')
  end
end

-- Groups have another bound than when they were set aside: all their lines are looked at.
local function open_groups(queue, bound)
  local closed = redis.call('ZRANGEBYSCORE', queue_key(queue, 'lines'), '+inf', '+inf', 'LIMIT', 0, 250)
  for _, name in ipairs(closed) do
    redis.call('ZADD', queue_key(queue, 'lines'), 0, name)
  end
  if #closed < 250 then
    redis.call('HSET', queue_key(queue, 'meta'), 'group_bound', bound)
  end
end
