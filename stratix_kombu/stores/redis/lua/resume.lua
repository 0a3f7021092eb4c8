-- End a pause and send what is owed.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] page
-- Returns {more, {}, ready}
-- Events resumed
--- @include base
--- @include send
--- @include reopen

local queue = ARGV[4]
if redis.call('HDEL', queue_key(queue, 'meta'), 'paused') == 1 then
  tell(queue, 'resumed')
end
return { reopen(queue, tonumber(ARGV[5])) and 1 or 0, {}, sent() }
