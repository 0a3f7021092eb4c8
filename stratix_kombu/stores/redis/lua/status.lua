-- Counts of a queue at one instant.
-- KEYS[1] '{namespace}'; ARGV[1] queue
-- Returns what status_of.lua says
--- @again
--- @include base
--- @include status_of

return status_of(ARGV[1])
