-- Claim a slot of a repeatable job by compare-and-set, and add its job.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] key; ARGV[5] slot; ARGV[6] next slot or 0; then the job as for
--   add: queue, id, name, data, options, extra, or nothing
-- Returns as add.lua, or nil if another clock was first
-- Events those of add.lua
--- @include base
--- @include send
--- @include moves
--- @include release
--- @include add_job
--- @include runs

local found = redis.call('HGET', P .. ':schedules', ARGV[4])
if not found then
  return nil
end
local schedule = decoded(found)
if not schedule or not num(schedule.next_ms) or schedule.paused or string.format('%.0f', schedule.next_ms) ~= ARGV[5] then
  return nil
end
local duplicates, placed, number = {}, {}, 0
if ARGV[7] then
  number = redis.call('INCR', P .. ':number')
  local one = add_job(ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12], number)
  if not one then
    duplicates[1] = ARGV[8]
  end
  if one ~= true then
    placed = { 0, one or '' }
  end
  if one then
    add_run(schedule, string.match(ARGV[8], '[^:]*$'))
  end
  schedule.runs = num(schedule.runs, 0) + 1
end
schedule.next_ms = tonumber(ARGV[6])
redis.call('HSET', P .. ':schedules', ARGV[4], cjson.encode(schedule))
if schedule.next_ms > 0 then
  redis.call('ZADD', P .. ':due' .. (schedule.owner or ''), schedule.next_ms, ARGV[4])
else
  redis.call('ZREM', P .. ':due' .. (schedule.owner or ''), ARGV[4])
end
return { 0, duplicates, sent(), instead, now, number, placed }
