-- failed -> waiting by hand; dependents that failed because of it wait for it again.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] job; ARGV[5] page
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
if job.state ~= 'failed' then
  return { 'state', job.state }
end
if job.vacant then
  return { 'state', 'never sent' }
end
retry_job(job)
return { release_page(tonumber(ARGV[5])), {}, sent() }
