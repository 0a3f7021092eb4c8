-- Remove, retry or promote jobs of one state, a page at a time.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] 'remove' | 'retry' | 'promote'; ARGV[6] state;
--   ARGV[7] how long ago in ms they must have ended or been added; ARGV[8] limit; ARGV[9] page for releases; ARGV[10]
--   where to go on: '' or the cursor of the page before
-- Returns {more, {}, ready, -1, ids, cursor}; the cursor is '' when all have been looked at
-- Events cleaned, or those of retry.lua and promote_job.lua; those of release.lua
--- @include base
--- @include send
--- @include moves
--- @include release

local queue, action, state, limit = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[8])
local LOOKED_AT = 1000
local keys = { queue_key(queue, state) }
if state == 'waiting' then
  for priority = 0, 9 do
    keys[priority + 1] = queue_key(queue, 'waiting:' .. priority)
  end
end

-- Of the whole sweep: the instant before which they must have ended or been added, and a mark of what it has moved, which
-- may come back. Of the page before: which set it was in, and the last one it looked at, with its score.
local before, mark, place, score, last = string.match(ARGV[10], '^(%S+) (%S+) (%d+) (%S+) (.*)$')
if not before then
  before, mark = string.format('%.0f', now - tonumber(ARGV[7])), string.format('%.0f', now_us)
  place, score, last = 1, '0', ''
end
before, place = tonumber(before), tonumber(place)

-- The rank at which to go on. If the last one has gone, those with its score are looked at again.
local function rank_after(key)
  if last == '' then
    return 0
  elseif redis.call('ZSCORE', key, last) == score then
    return redis.call('ZRANK', key, last) + 1
  end
  return redis.call('ZCOUNT', key, '-inf', '(' .. score)
end

local function suits(id)
  local v = read(id, 'finished', 'created', 'vacant', 'failed_by', 'swept')
  local at = num(v[1] or v[2])
  if not at then
    return true -- to be dropped, if it has no record
  elseif at > before then
    return false
  end
  return action == 'remove' or not (v[3] or v[5] == mark or (action == 'retry' and v[4] and v[4] ~= ''))
end

local chosen, chosen_from, looked = {}, {}, 0
while keys[place] and #chosen < limit and looked < LOOKED_AT do
  local start = rank_after(keys[place])
  local wanted = LOOKED_AT - looked
  local page = redis.call('ZRANGE', keys[place], start, start + wanted - 1, 'WITHSCORES')
  local seen = 0
  while page[2 * seen + 1] and #chosen < limit do
    last, score = page[2 * seen + 1], page[2 * seen + 2]
    seen = seen + 1
    if suits(last) then
      chosen[#chosen + 1] = last
      chosen_from[#chosen] = keys[place]
    end
  end
  looked = looked + seen
  if seen * 2 == #page and seen < wanted then
    place, score, last = place + 1, '0', ''
  end
end
local done = {}
for i, id in ipairs(chosen) do
  local job = listed(chosen_from[i], id, queue)
  done[#done + 1] = job and id
  if job and action == 'remove' then
    delete(job)
  elseif job then
    redis.call('HSET', job_key(id), 'swept', mark)
    if action == 'retry' then
      retry_job(job)
    else
      make_waiting(job)
    end
  end
end
if action == 'remove' and #done > 0 then
  tell(queue, 'cleaned', nil, nil, #done)
end
local cursor = keys[place] and string.format('%.0f %s %d %s %s', before, mark, place, score, last) or ''
return { release_page(tonumber(ARGV[9])), {}, ready, -1, done, cursor }
