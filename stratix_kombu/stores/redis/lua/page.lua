-- Records of a queue in one state that a filter means, a page at a time, in the order of find.lua.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] state; ARGV[3] page; ARGV[4] how many jobs are looked at; ARGV[5] where to go
--   on: '' or the cursor of the page before; ARGV[6] '' or JSON of what JobFilter says that matters; then the fields
-- Returns {cursor, number looked at, id, values of the fields, id, ...}; the cursor is '' after the last page
--- @again
--- @include base

local queue, state, page, left = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local where = ARGV[6] ~= '' and cjson.decode(ARGV[6]) or {}
local ended = state == 'completed' or state == 'failed'
local since, till = where.since_ms or 0, where.until_ms or math.huge
local keys = { queue_key(queue, state) }
if state == 'waiting' then
  keys = { queue_key(queue, 'order'), queue_key(queue, 'aside') }
  for priority = 0, 9 do
    keys[priority + 3] = queue_key(queue, 'waiting:' .. priority)
  end
end
local place, score, last = 1, '', ''
if ARGV[5] ~= '' then
  place, score, last = string.match(ARGV[5], '^(%d+) (%S*) (.*)$')
  place = tonumber(place)
end

-- The rank of the first one to look at. If the last one has gone, those with its score are looked at again. Finished jobs
-- are in the order of their ends: their scores are in microseconds, and some more where many ended in one step.
local function first_rank(key)
  if last ~= '' and redis.call('ZSCORE', key, last) == score then
    return redis.call(ended and 'ZREVRANK' or 'ZRANK', key, last) + 1
  elseif last ~= '' then
    return ended and redis.call('ZCOUNT', key, '(' .. score, '+inf') or redis.call('ZCOUNT', key, '-inf', '(' .. score)
  end
  return ended and till < math.huge and redis.call('ZCOUNT', key, string.format('(%.0f', till * 1000 + 10000), '+inf') or 0
end

-- How many there are at most, from the first one on.
local function size_of(key)
  return ended and since > 0 and redis.call('ZCOUNT', key, string.format('%.0f', since * 1000), '+inf') or redis.call('ZCARD', key)
end

local is_read = where.name or where.reason or where.group or where.worker or since > 0 or till < math.huge
local is_name, is_reason
if where.name or where.reason then
  --- @include matching
  is_name, is_reason = where.name and pattern(where.name), where.reason and pattern('*' .. where.reason .. '*')
end

local function suits(id)
  if where.id_prefix and string.sub(id, 1, #where.id_prefix) ~= where.id_prefix then
    return false
  elseif not is_read then
    return true
  end
  local v = read(id, F.name, F.group, F.worker, F.failed_reason, F.created_ms, F.finished_ms)
  local at = num(ended and v[6] or v[5], 0)
  return at >= since and at < till
    and (not where.group or v[2] == where.group)
    and (not where.worker or v[3] == where.worker)
    and (not is_name or is_name(v[1] or ''))
    and (not is_reason or is_reason(v[4] or ''))
end

local found, n, looked = { '' }, 0, 0
while keys[place] and n < page and left > 0 do
  local key = keys[place]
  local first = first_rank(key)
  local asked = math.min(left, (is_read or where.id_prefix) and left or page - n, size_of(key) - first)
  local ids = asked > 0 and redis.call(ended and 'ZREVRANGE' or 'ZRANGE', key, first, first + asked - 1) or {}
  local seen = 0
  while ids[seen + 1] and n < page do
    seen = seen + 1
    if suits(ids[seen]) then
      n = n + 1
      found[2 * n + 1], found[2 * n + 2] = ids[seen], read(ids[seen], unpack(ARGV, 7))
    end
  end
  looked, left = looked + seen, left - seen
  if seen > 0 then
    last = ids[seen]
    score = redis.call('ZSCORE', key, last)
  end
  if first + seen >= size_of(key) then
    place, score, last = place + 1, '', ''
  end
end
found[2] = looked
if keys[place] then
  found[1] = string.format('%d %s %s', place, score, last)
end
return found
