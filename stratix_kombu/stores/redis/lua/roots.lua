-- Roots of flows, the newest first: see graph.lua.
-- KEYS[1] '{namespace}'; ARGV[1] cursor or ''; ARGV[2] limit
-- Returns {cursor, ids}; the cursor is '' after the last one
--- @again
local highest = ARGV[1] == '' and '+inf' or '(' .. ARGV[1]
local page = redis.call('ZREVRANGEBYSCORE', KEYS[1] .. ':flows', highest, '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local ids = {}
for i = 1, #page, 2 do
  ids[#ids + 1] = page[i]
end
return { #ids == tonumber(ARGV[2]) and page[#page] or '', ids }
