-- Complete attempts, then take the next jobs of a queue.
-- KEYS[1] '{namespace}'; ARGV[1..13] see take.lua; ARGV[14] page; then per job as complete_jobs.lua says
-- Returns {more, stale ids, ready, what take.lua answers}
-- Events those of complete.lua and take.lua
--- @include base
local first = 15
local more, stale, to_send, same = 0, {}, {}, true
--- @include complete_usual
if not is_completed then
  --- @include send
  --- @include complete_jobs
  stale = complete_jobs(first)
  more = release_page(tonumber(ARGV[14]))
  tell_drained()
  write_tallies()
  to_send = sent()
  same = same_anyway(more)
end
--- @include take_jobs
return { more, stale, to_send, take_jobs() }, same
