-- delayed -> delayed to another instant, or waiting.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] job; ARGV[5] delay in ms from now
-- Returns {0, {}, ready} or {'gone'}, {'state', state}
-- Events delayed | waiting
--- @include base
--- @include send
--- @include moves

local job = load(ARGV[4])
if not job then
  return { 'gone' }
end
if job.state ~= 'delayed' then
  return { 'state', job.state }
end
local delay = tonumber(ARGV[5])
if job.vacant and not (job.kind == 'by hand' and delay > 0) then
  return { 'state', 'never sent' }
end
if delay > 0 then
  make_delayed(job, now + delay)
else
  make_waiting(job)
end
return { 0, {}, sent() }
