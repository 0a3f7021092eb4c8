-- delayed -> waiting by hand.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] job
-- Returns {0, {}, ready} or {'gone'}, {'state', state}
-- Events waiting
--- @include base
--- @include send
--- @include moves
--- @include despite_full

local job = load(ARGV[4])
if not job then
  return { 'gone' }
end
if job.state ~= 'delayed' then
  return { 'state', job.state }
end
if job.vacant then
  return { 'state', 'never sent' }
end
make_waiting(job)
return { 0, {}, sent() }
