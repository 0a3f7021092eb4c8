-- What is noted of a queue is counted when there are so many entries, or attempts in one, see tally.lua.
local ENTRIES, ATTEMPTS = 32, 16
