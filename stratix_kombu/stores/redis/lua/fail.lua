-- Fail attempts whose claim is still held: another attempt after a delay, or failed for good.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] page; then per job: id, token, reason, stack trace,
--   delay of the next attempt in ms or '', error or '', jobs to be added (see then.lua)
-- Returns {more, stale ids, ready}
-- Events delayed | waiting | failed, retries_exhausted, drained; those of add.lua and release.lua
--- @include base
--- @include send
--- @include moves
--- @include release
--- @include then
--- @include bury

--- @include despite_full
local stale = {}
for i = 5, #ARGV, 7 do
  local id, reason, trace, retry = ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local key = job_key(id)
  local may, before = may_end(id, ARGV[i + 1], FAIL)
  local job = may and load(id)
  if not job then
    if not before then
      stale[#stale + 1] = id
    end
  else
    touch(job.queue)
    local cancel = redis.call('HMGET', key, F.cancelled, F.cancel_error, F.attempts_started, F.processed_ms, F.worker)
    if cancel[1] then
      fail_job(job, cancel[1], trace, nil, cancel[2] ~= '' and cancel[2] or ARGV[i + 5])
    elseif retry == '' then
      bury(id, reason)
      fail_job(job, reason, trace, nil, ARGV[i + 5])
      if job.attempts_made >= job.max_attempts and job.max_attempts > 1 then
        tell(job.queue, 'retries_exhausted', id, job.name)
      end
    else
      tally_count(job.queue, RETRIED)
      if job.state == 'active' then
        --- @include attempted
        append_attempt(id, cancel[3], cancel[4], now, cancel[5], 'failed', reason, trace)
      end
      redis.call('HSET', key, F.failed_reason, reason, F.stacktrace, trace)
      if tonumber(retry) > 0 then
        make_delayed(job, now + tonumber(retry))
      else
        make_waiting(job)
      end
    end
    add_then(ARGV[i + 6])
  end
end
local more = release_page(tonumber(ARGV[4]))
tell_drained()
write_tallies()
return { more, stale, sent() }, same_anyway(more)
