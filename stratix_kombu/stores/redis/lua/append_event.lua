-- Write an entry of one's own into a queue's log.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] event; ARGV[3] job or ''; ARGV[4] '1' if there is a value; ARGV[5] value
-- Returns 1; the entry is the event
--- @include base

local name = read(ARGV[3], F.name)[1] or ''
tell(ARGV[1], ARGV[2], ARGV[3], name, ARGV[4] == '1' and ARGV[5] or nil)
return 1
