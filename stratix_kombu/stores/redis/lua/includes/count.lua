-- Counting, by queue: in the minute, in the hour, and since the queue has been there.
-- '<queue>:minute:<n>' holds u32 numbers: completed, failed, retried, stalled, limited, cancelled; two i64: ms waited, ms run;
--   and u32 again: for each bucket of model/metrics.py how many waits, how many runs. '<queue>:hour:<n>' the same of an hour.
-- '<queue>:totals' holds i64 numbers: completed, ..., cancelled, 0, 0; and nine for each place: how many by BOUNDS_MS, ms
--   in all. Place 0 is for waits, 1 for runs of jobs of other names, then one for each name of '<queue>:names'.
local COMPLETED, FAILED, RETRIED, STALLED, LIMITED, CANCELLED = '#0', '#1', '#2', '#3', '#4', '#5'
local KEPT_S, HOURS_KEPT, NAMED_HOURS = 24 * 3600, 31 * 24, 7 * 24

local function minute_key(queue, minute)
  return queue_key(queue, string.format('minute:%d', minute))
end

-- With a number of '<queue>:named', that of jobs of a name.
local function hour_key(queue, hour, number)
  return queue_key(queue, string.format('hour:%d', hour) .. (number and ':' .. number or ''))
end

local function write_to(key, kept_s, counts)
  local first = redis.call('BITFIELD', key, unpack(counts))[1]
  if first == tonumber(counts[4]) then -- it was 0, as in a new minute
    redis.call('EXPIRE', key, kept_s)
  end
end

-- Both lists are operations of BITFIELD: 'INCRBY', type, slot, by how much, ...
local function write_counts(queue, minute, of_minute, of_all)
  write_to(minute_key(queue, minute), KEPT_S, of_minute)
  write_to(hour_key(queue, math.floor(minute / 60)), HOURS_KEPT * 3600, of_minute)
  redis.call('BITFIELD', queue_key(queue, 'totals'), unpack(of_all))
end

-- Written at once; what every job does is noted, see tally.lua.
local function count(queue, what, times)
  times = string.format('%d', times)
  write_counts(queue, math.floor(now / 60000), { 'INCRBY', 'u32', what, times }, { 'INCRBY', 'i64', what, times })
end
