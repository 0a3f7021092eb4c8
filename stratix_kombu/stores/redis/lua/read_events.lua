-- A page of a queue's log, and where in the log it is.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] id after which to read, or '' to read nothing; ARGV[3] most entries
-- Returns {entries that were ever written, how many are kept, id of the newest, id of the oldest kept, entries}; servers
--   before Redis 7 do not know the first number: -1
--- @again
--- @include base

local key = queue_key(ARGV[1], 'events')
if redis.call('EXISTS', key) == 0 then
  return { 0, 0, '0-0', '', {} }
end
local flat = redis.call('XINFO', 'STREAM', key)
local info = {}
for i = 1, #flat, 2 do
  info[flat[i]] = flat[i + 1]
end
local oldest = info['first-entry'] and info['first-entry'][1] or ''
local page = ARGV[2] ~= '' and redis.call('XREAD', 'COUNT', ARGV[3], 'STREAMS', key, ARGV[2])
return { info['entries-added'] or -1, info['length'], info['last-generated-id'], oldest, page and page[1][2] or {} }
