-- Remove, retry or promote jobs of one state, a page at a time.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] 'remove' | 'retry' | 'promote'; ARGV[6] state;
--   ARGV[7] how long ago in ms they must have ended or been added; ARGV[8] limit; ARGV[9] page for releases; ARGV[10]
--   where to go on: '' or the cursor of the page before
-- Returns {more, {}, ready, -1, ids, cursor}; the cursor is '' when all have been looked at
-- Events cleaned, or those of retry.lua and promote_job.lua; those of release.lua
--- @include base
--- @include send
--- @include moves
--- @include removal
--- @include revive
--- @include release
--- @include cursor
--- @include despite_full

local queue, action, state, limit = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[8])
local keys = sets_of(queue, state)

-- Of the whole sweep: the instant before which they must have ended or been added, and a mark of what it has moved, which
-- may come back.
local before, mark, at = string.match(ARGV[10], '^(%S+) (%S+) (.*)$')
before = tonumber(before) or now - tonumber(ARGV[7])
mark = mark or string.format('%.0f', now_us)
go_to(at or '')

local function suits(id)
  local v = read(id, F.finished_ms, F.created_ms, F.vacant, F.failed_by, F.swept)
  local ended = num(v[1] or v[2])
  if not ended then
    return true -- to be dropped, if it has no record
  elseif ended > before then
    return false
  end
  return action == 'remove' or not (v[3] or v[5] == mark or (action == 'retry' and v[4] and v[4] ~= ''))
end

local chosen, chosen_from = {}, {}
walk_on(keys, 1000, function(id, key)
  if suits(id) then
    chosen[#chosen + 1] = id
    chosen_from[#chosen] = key
  end
  return #chosen == limit
end)
local done = {}
for i, id in ipairs(chosen) do
  local job = listed(chosen_from[i], id, queue)
  done[#done + 1] = job and id
  if job and action == 'remove' then
    delete_by_hand(job)
  elseif job then
    redis.call('HSET', job_key(id), F.swept, mark)
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
local cursor = here(keys)
if cursor ~= '' then
  cursor = string.format('%.0f %s %s', before, mark, cursor)
end
return { release_page(tonumber(ARGV[9])), {}, sent(), -1, done, cursor }
