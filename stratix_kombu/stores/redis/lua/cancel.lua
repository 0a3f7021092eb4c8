-- End a job that has not begun, or mark an active one.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] job; ARGV[5] reason; ARGV[6] error or ''; ARGV[7] page
-- Returns {more, {}, ready} or {'gone'}, {'state', state}
-- Events failed; those of release.lua
--- @include base
--- @include send
--- @include moves
--- @include release
--- @include despite_full

local job = load(ARGV[4])
if not job then
  return { 'gone' }
end
if finished(job.state) then
  return { 'state', job.state }
end
redis.call('HSET', job_key(job.id), F.cancelled, ARGV[5], F.cancel_error, ARGV[6])
if job.state == 'active' then
  return { 0, {}, sent() }
end
job.cancelled = true
fail_job(job, ARGV[5], nil, nil, ARGV[6])
return { release_page(tonumber(ARGV[7])), {}, sent() }
