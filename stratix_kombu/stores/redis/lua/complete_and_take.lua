-- Complete attempts, then take the next jobs of a queue.
-- KEYS[1] '{namespace}'; ARGV[1..13] see take.lua; ARGV[14] page; then per job as complete_jobs.lua says
-- Returns {more, stale ids, ready, what take.lua answers}
-- Events those of complete.lua and take.lua
--- @include base
local first = 15
--- @include complete_usual
if is_completed then
  --- @include take_jobs
  return { 0, {}, {}, take_jobs() }
end
--- @once
--- @include send
--- @include complete_jobs
--- @include take_jobs

local stale = complete_jobs(first)
local more = release_page(tonumber(ARGV[14]))
tell_drained()
write_tallies()
local to_send, same = sent(), same_anyway(more)
return { more, stale, to_send, take_jobs() }, same
