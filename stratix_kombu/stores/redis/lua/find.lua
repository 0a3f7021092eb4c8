-- Records of a queue in some states, state by state.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] start; ARGV[3] end (inclusive; both negative from the end); ARGV[4] most;
--   ARGV[5] number of fields; then the fields; then states
-- Returns id, values of the fields, id, ...
--- @again
--- @include base

local queue, fields = ARGV[1], tonumber(ARGV[5])
local sets, total = {}, 0
local function use(key, newest_first)
  local size = redis.call('ZCARD', key)
  if size > 0 then
    sets[#sets + 1] = { key, newest_first, size }
    total = total + size
  end
end
for i = 6 + fields, #ARGV do
  if ARGV[i] == 'waiting' then
    use(queue_key(queue, 'order'))
    use(queue_key(queue, 'aside'))
    for priority = 0, 9 do
      use(queue_key(queue, 'waiting:' .. priority))
    end
  else
    use(queue_key(queue, ARGV[i]), ARGV[i] == 'completed' or ARGV[i] == 'failed')
  end
end
local first, last = tonumber(ARGV[2]), tonumber(ARGV[3])
if first < 0 then
  first = math.max(first + total, 0)
end
if last < 0 then
  last = last + total
end
last = math.min(last, first + tonumber(ARGV[4]) - 1)
local found = {}
for _, set in ipairs(sets) do
  if last >= 0 and first < set[3] then
    local command = set[2] and 'ZREVRANGE' or 'ZRANGE'
    for _, id in ipairs(redis.call(command, set[1], math.max(first, 0), math.min(last, set[3] - 1))) do
      found[#found + 1] = id
      found[#found + 1] = read(id, unpack(ARGV, 6, 5 + fields))
    end
  end
  first, last = first - set[3], last - set[3]
end
return found
