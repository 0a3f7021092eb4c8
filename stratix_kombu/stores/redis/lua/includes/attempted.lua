-- Attempts that have ended, of jobs that go on: '<namespace>:attempts:<id>' is a list of JSON, as model/attempts.py says.
--- @include bounded

local ATTEMPTS_KEPT, REASON_BYTES, TRACE_BYTES = 20, 1000, 4000

local function append_attempt(id, number, begun, ended, worker, outcome, reason, trace)
  local key = P .. ':attempts:' .. id
  local entry = cjson.encode({ num(number, 1), num(begun, 0), ended, worker or '', outcome, bounded(reason, REASON_BYTES),
    #trace <= TRACE_BYTES and trace or '' })
  if redis.call('RPUSH', key, entry) > ATTEMPTS_KEPT then
    redis.call('LTRIM', key, -ATTEMPTS_KEPT, -1)
  end
end

-- An attempt at an active job.
local function keep_attempt(id, outcome, reason, trace)
  local v = redis.call('HMGET', job_key(id), F.attempts_started, F.processed_ms, F.worker)
  append_attempt(id, v[1], v[2], now, v[3], outcome, reason or '', trace or '')
end

-- A job that has ended will run again: the attempt that it ended with.
local function keep_last(id)
  local v = redis.call('HMGET', job_key(id), F.attempts_started, F.processed_ms, F.worker, F.finished_ms, F.state, F.cancelled,
    F.failed_reason, F.stacktrace)
  local newest = redis.call('LINDEX', P .. ':attempts:' .. id, -1)
  if num(v[1], 0) > (newest and cjson.decode(newest)[1] or 0) then
    local failed = v[5] == 'failed'
    append_attempt(id, v[1], v[2], num(v[4], now), v[3], failed and v[6] and 'cancelled' or v[5],
      failed and v[7] or '', failed and v[8] or '')
  end
end
