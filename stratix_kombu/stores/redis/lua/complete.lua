-- Complete attempts whose claim is still held.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] page; then per job as complete_jobs.lua says
-- Returns {more, stale ids, ready}
-- Events completed, drained; those of add.lua and release.lua
local first = 5
--- @include complete_usual
if is_completed then
  return { 0, {}, {} }
end
--- @once
--- @include base
--- @include send
--- @include complete_jobs

local stale = complete_jobs(first)
local more = release_page(tonumber(ARGV[4]))
tell_drained()
write_tallies()
return { more, stale, sent() }, same_anyway(more)
