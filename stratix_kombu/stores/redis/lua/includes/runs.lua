-- The last runs of a schedule: JSON in its field `recent`, the newest first. Each is what its id ends in and when it was
-- added; and how it ended, once its record has been removed. See model/runs.py, which reads it.
local RUNS_KEPT, REASON_BYTES = 10, 200

local function add_run(schedule, slot)
  local runs = decoded(schedule.recent) or {}
  table.insert(runs, 1, { slot, now })
  runs[RUNS_KEPT + 1] = nil
  schedule.recent = cjson.encode(runs)
end

-- The beginning of a text; no character of UTF-8 is cut.
local function beginning(text)
  local last = math.min(#text, REASON_BYTES)
  while last < #text and last > 0 and string.find(string.sub(text, last + 1, last + 1), '[\128-\191]') do
    last = last - 1
  end
  return string.sub(text, 1, last)
end

-- Retention removes a job that is a run.
local function end_run(job, how)
  local key, slot = string.match(job.id, '^repeat:(.*):([^:]*)$')
  local schedule = key and decoded(redis.call('HGET', P .. ':schedules', key) or '')
  local runs = schedule and decoded(schedule.recent) or {}
  for _, run in ipairs(runs) do
    if run[1] == slot then
      run[3], run[4], run[5] = how, job.finished_ms, beginning(job.state == 'failed' and job.failed_reason or '')
      schedule.recent = cjson.encode(runs)
      redis.call('HSET', P .. ':schedules', key, cjson.encode(schedule))
    end
  end
end
