-- Delete a job that is not active.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] job; ARGV[5] page
-- Returns {more, {}, ready} or {'gone'}, {'state', state}
-- Events removed; those of release.lua
--- @include base
--- @include send
--- @include moves
--- @include removal
--- @include release

local job = load(ARGV[4])
if not job then
  return { 'gone' }
end
if job.state == 'active' then
  return { 'state', job.state }
end
delete_by_hand(job)
tell(job.queue, 'removed', job.id, job.name)
return { release_page(tonumber(ARGV[5])), {}, sent() }
