-- What is noted of a queue is counted when there are so many entries, or would be so many attempts if all entries were like
-- the last one, see tally.lua.
local ENTRIES, ATTEMPTS = 32, 512
