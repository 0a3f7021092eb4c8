-- Complete attempts, then take the next jobs of a queue.
-- KEYS[1] '{namespace}'; ARGV[1..13] see take.lua; ARGV[14] page; then per job as complete_jobs.lua says
-- Returns {more, stale ids, ready, what take.lua answers}
-- Events those of complete.lua and take.lua
--- @include base
--- @include send
--- @include complete_jobs
--- @include take_jobs

local stale = complete_jobs(15)
local more = release_page(tonumber(ARGV[14]))
tell_drained()
write_tallies()
return { more, stale, sent(), take_jobs() }, same_anyway(more)
