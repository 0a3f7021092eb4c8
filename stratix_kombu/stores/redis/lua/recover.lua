-- Jobs whose lease expired: waiting again, or failed when it happened too often.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] most stalls; ARGV[5] page; ARGV[6] page for releases; ARGV[7]
--   after how many ms a queue that nobody uses is forgotten
-- Returns {more, {}, ready, -1, recovered ids, '', what was dropped since: JSON of {id, queue, why}}
-- Events stalled, waiting | failed, drained; those of release.lua
--- @again
--- @include base
--- @include send
--- @include moves
--- @include first
--- @include release
--- @include unused
--- @include bury
--- @include stranded

-- Go on walking over all queues, to find what the index of first.lua does not know of: what the first release of this
-- package has written, and what the server has evicted; queues that nobody uses are forgotten. Whether the first lap is
-- under way, or old jobs are still moved.
local function walk()
  local laps, cursor = string.match(redis.call('GET', P .. ':walk') or '', '^(%d+) (%d+)$')
  local page = redis.call('SSCAN', P .. ':queues', cursor or 0, 'COUNT', 50)
  local workers, left, is_moving = 0, 150, false
  for _, queue in ipairs(page[2]) do
    look_again(queue, 'delayed')
    look_again(queue, 'active')
    look_at_aside(queue)
    local v = redis.call('HMGET', queue_key(queue, 'meta'), 'old', 'owed', 'unsent_lines', 'paused')
    if v[1] ~= 'none' and left > 0 then
      --- @include old
      is_moving = not put_old_jobs(queue, v[1] or nil, left) or is_moving
      left = is_moving and 0 or left - 1
    end
    if not v[4] and (v[2] or v[3] or redis.call('EXISTS', queue_key(queue, 'unsent')) == 1) then
      expect(queue, 'opens', now)
    end
    if workers <= MOST_COUNTED then
      workers = workers + tidy(queue, tonumber(ARGV[7]))
    end
  end
  look_at_blocked(page[2])
  if is_moving then
    return true -- and goes on at the same place
  end
  laps = tonumber(laps or 0) + (page[1] == '0' and 1 or 0)
  redis.call('SET', P .. ':walk', string.format('%d ', laps) .. page[1])
  return laps == 0
end

local function lose_lease(job)
  local id, queue = job.id, job.queue
  local stalls = bump(id, F.stalled_count, 1)
  redis.call('HSET', job_key(id), F.token, '')
  --- @include attempted
  keep_attempt(id, 'stalled')
  count(queue, STALLED, 1)
  tell(queue, 'stalled', id, job.name)
  local v = redis.call('HMGET', job_key(id), F.max_stalled, F.cancelled)
  local allowed = num(v[1], tonumber(ARGV[4]))
  if stalls > allowed and not v[2] then
    local reason = 'stalled more than ' .. allowed .. ' times: its worker stopped renewing the lease'
    bury(id, reason)
    fail_job(job, reason)
  else
    back(job)
  end
end

-- What steps have dropped since, reported once.
local function take_notes()
  local notes = redis.call('LRANGE', P .. ':lost', 0, 99)
  redis.call('LTRIM', P .. ':lost', #notes, -1)
  return notes
end

--- @include despite_full
local walking = walk()
local page = tonumber(ARGV[5])
local left, looks, recovered = page, page, {}
local queue, at = first_queue('active')
while queue and at <= now and left > 0 and looks > 0 do
  local expired = redis.call('ZRANGEBYSCORE', queue_key(queue, 'active'), '-inf', now, 'LIMIT', 0, left)
  if #expired > 0 then
    touch(queue)
  end
  for _, id in ipairs(expired) do
    local job = listed(queue_key(queue, 'active'), id, queue)
    if job then
      recovered[#recovered + 1] = id
      lose_lease(job)
    end
  end
  left, looks = left - #expired, looks - 1
  look_again(queue, 'active')
  queue, at = first_queue('active')
end
local more = release_page(tonumber(ARGV[6]))
tell_drained()
return { (walking or (queue and at <= now)) and 1 or more, {}, sent(), -1, recovered, '', take_notes() }
