-- Go on telling dependents of jobs that have ended.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] page
-- Returns {more, {}, ready}
-- Events waiting | delayed | failed | blocked
--- @again
--- @include base
--- @include send
--- @include moves
--- @include release
--- @include despite_full

return { release_page(tonumber(ARGV[4])), {}, sent() }
