-- Walking over the jobs of a state, page by page. The place is that of the last job that was looked at: in which of the
-- sets, its score and its id. Whatever leaves the sets or comes into them meanwhile, none is passed over that stays.
local place, score, last = 1, '0', ''

local function sets_of(queue, state)
  if state ~= 'waiting' then
    return { queue_key(queue, state) }
  end
  -- What is set aside comes back into the order meanwhile, and the other way round.
  local keys = { queue_key(queue, 'aside'), queue_key(queue, 'order'), queue_key(queue, 'aside') }
  for priority = 0, 9 do
    keys[priority + 4] = queue_key(queue, 'waiting:' .. priority)
  end
  return keys
end

-- Go on where a cursor says.
local function go_to(cursor)
  if cursor ~= '' then
    place, score, last = string.match(cursor, '^(%d+) (%S+) (.*)$')
    place = tonumber(place)
  end
end

-- The cursor; '' when there is nothing left.
local function here(keys)
  return keys[place] and string.format('%d %s %s', place, score, last) or ''
end

-- The rank at which to go on. If the last one has gone, those with its score are looked at again.
local function rank_after(key)
  if last == '' then
    return 0
  elseif redis.call('ZSCORE', key, last) == score then
    return redis.call('ZRANK', key, last) + 1
  end
  return redis.call('ZCOUNT', key, '-inf', '(' .. score)
end

-- Show `visit` at most `most` jobs, until it answers true.
local function walk_on(keys, most, visit)
  local enough = false
  while keys[place] and most > 0 and not enough do
    local start = rank_after(keys[place])
    local page = redis.call('ZRANGE', keys[place], start, start + most - 1, 'WITHSCORES')
    local seen = 0
    while page[2 * seen + 1] and not enough do
      last, score = page[2 * seen + 1], page[2 * seen + 2]
      seen = seen + 1
      enough = visit(last, keys[place])
    end
    if seen * 2 == #page and seen < most then
      place, score, last = place + 1, '0', ''
    end
    most = most - seen
  end
end
