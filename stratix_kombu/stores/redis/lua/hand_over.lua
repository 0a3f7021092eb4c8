-- End attempts with the job going on as something else: it is vacant until a job of its id is added.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] page; then per job: id, token, reason, stack trace, jobs to be
--   added (see then.lua)
-- Returns {more, stale ids, ready}
-- Events blocked | failed, drained; those of add.lua and release.lua
--- @include base
--- @include send
--- @include moves
--- @include release
--- @include then

local function hand_over(job, reason, trace, successors)
  local id, key = job.id, job_key(job.id)
  --- @include attempted
  keep_attempt(id, reason ~= '' and 'failed' or 'continued', reason, trace)
  move(job, 'blocked')
  redis.call('HDEL', key, F.failed_reason, F.stacktrace)
  redis.call('HSET', key, F.state, 'blocked', F.vacant, 1)
  if reason ~= '' then
    tally_count(job.queue, RETRIED)
    redis.call('HSET', key, F.failed_reason, reason, F.stacktrace, trace)
  end
  add_then(successors)
  job = load(id)
  if is_vacant(job) then
    if job.pending > 0 then
      tell(job.queue, 'blocked', id, job.name)
    else
      unblock(job)
    end
  end
end

--- @include despite_full
local stale = {}
for i = 5, #ARGV, 5 do
  local id = ARGV[i]
  local may, before = may_end(id, ARGV[i + 1], HAND_OVER)
  local job = may and load(id)
  if not job then
    if not before then
      stale[#stale + 1] = id
    end
  else
    touch(job.queue)
    if not end_cancelled(job) then
      hand_over(job, ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
    end
  end
end
local more = release_page(tonumber(ARGV[4]))
tell_drained()
write_tallies()
return { more, stale, sent() }, same_anyway(more)
