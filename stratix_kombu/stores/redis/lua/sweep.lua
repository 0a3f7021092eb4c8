-- Remove, retry or promote jobs of one state, a page at a time.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] 'remove' | 'retry' | 'promote'; ARGV[6] state;
--   ARGV[7] how long ago in ms they must have ended or been added; ARGV[8] limit; ARGV[9] page for releases
-- Returns {more, {}, ready, -1, ids}
-- Events cleaned, or those of retry.lua and promote_job.lua; those of release.lua
--- @include base
--- @include send
--- @include moves
--- @include release

local queue, action, state = ARGV[4], ARGV[5], ARGV[6]
local before, limit = now - tonumber(ARGV[7]), tonumber(ARGV[8])
local keys = { queue_key(queue, state) }
if state == 'waiting' then
  for priority = 0, 9 do
    keys[priority + 1] = queue_key(queue, 'waiting:' .. priority)
  end
end

-- At most ten thousand are looked at in one step.
local chosen, looked = {}, 0
for _, key in ipairs(keys) do
  local start = 0
  while #chosen < limit and looked < 10000 do
    local page = redis.call('ZRANGE', key, start, start + 999)
    for _, id in ipairs(page) do
      local v = redis.call('HMGET', job_key(id), 'finished', 'created', 'vacant', 'failed_by')
      local suits = action == 'remove' or not (v[3] or (action == 'retry' and v[4] and v[4] ~= ''))
      if #chosen < limit and suits and tonumber(v[1] or v[2]) <= before then
        chosen[#chosen + 1] = id
      end
    end
    looked = looked + #page
    start = start + 1000
    if #page < 1000 then
      break
    end
  end
end
for _, id in ipairs(chosen) do
  local job = load(id)
  if action == 'remove' then
    delete(job)
  elseif action == 'retry' then
    retry_job(job)
  else
    make_waiting(job)
  end
end
if action == 'remove' and #chosen > 0 then
  tell(queue, 'cleaned', nil, nil, #chosen)
end
local more = release_page(tonumber(ARGV[9]))
return { #chosen == limit and 1 or more, {}, ready, -1, chosen }
