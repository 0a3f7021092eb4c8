-- completed -> waiting by hand; with what depends on it, if that is asked for.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] job; ARGV[5] page; ARGV[6] '1': its dependents as well
-- Returns {more, {}, ready} or {'gone'}, {'state', state}
-- Events waiting | delayed | blocked
--- @include base
--- @include send
--- @include moves
--- @include revive
--- @include release
--- @include despite_full

local job = load(ARGV[4])
if not job then
  return { 'gone' }
end
if job.state ~= 'completed' then
  return { 'state', job.state }
end
rerun_job(job, ARGV[6] == '1')
return { release_page(tonumber(ARGV[5])), {}, sent() }
