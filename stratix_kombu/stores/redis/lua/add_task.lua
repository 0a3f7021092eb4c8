-- Add one job that brings a message of its own and waits at once, under an id that was made for it: as add_fresh.lua does with
-- other jobs, which says more of it.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] id; ARGV[3] priority; ARGV[4] the broker's list that the message is put into, or
--   '' if the caller sends it; ARGV[5] the message; ARGV[6] name; ARGV[7] data; then further fields of the record and their values
-- Returns {when it was added, its number; 0 if it has gone}
-- Events waiting
--- @again
--- @include tag
local call, P, id = redis.call, KEYS[1], ARGV[2]
local key, base = P .. ':job:' .. id, P .. ':q:' .. ARGV[1] .. ':'
if call('EXISTS', key, P .. ':ended:' .. id, P .. ':gone:' .. id) > 0 then
  local known = call('HMGET', key, F.created_ms, F.number)
  return { known[1] or call('TIME')[1] .. '000', tonumber(known[2] or 0) }
end
local number, time = call('INCR', P .. ':number'), call('TIME')
local score = time[1] .. string.format('%06d', time[2])
local created = string.sub(score, 1, -4)
call('HSET', key, F.created_ms, created, F.number, number, F.state, 'waiting', F.name, ARGV[6], F.data, ARGV[7], F.queue,
  ARGV[1], F.message, ARGV[5], unpack(ARGV, 8))
call('SADD', P .. ':queues', ARGV[1])
call('XADD', base .. 'events', 'MAXLEN', '~', '10000', '*', E.name, 'waiting', E.job_id, id, E.job_name, ARGV[6])
call('ZADD', base .. 'waiting:' .. ARGV[3], score, id)
if ARGV[4] ~= '' then -- see send_native.lua
  call('LPUSH', ARGV[4], tag_in(ARGV[5]) and ARGV[5]
    or string.sub(ARGV[5], 1, -3) .. ',"delivery_tag":"' .. id .. '.' .. score .. '"}}')
end
return { created, number }
