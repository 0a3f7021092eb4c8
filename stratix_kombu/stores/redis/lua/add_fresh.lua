-- Add one job that waits at once, in the common order, under an id that was made for it: no other job has or had it. So the
-- id says whether this call was made before, and no answer is kept: there is the record, or for a while what a removed one
-- leaves ('ended' and 'gone', see removal.lua). Written without functions, and with texts for numbers: making the one and
-- converting the other takes longer than most commands.
-- KEYS[1] '{namespace}'; ARGV[1] queue; ARGV[2] id; ARGV[3] priority; ARGV[4] the broker's list and ARGV[5] the permit to be
--   put into it, or '' if the caller sends it; ARGV[6] name; ARGV[7] data; then further fields of the record and their values
-- Returns {when it was added, its number; 0 if it has gone}
-- Events waiting
--- @again
--- @include span
local call, P, id = redis.call, KEYS[1], ARGV[2]
local key, base = P .. ':job:' .. id, P .. ':q:' .. ARGV[1] .. ':'
if call('EXISTS', key, P .. ':ended:' .. id, P .. ':gone:' .. id) > 0 then
  local known = call('HMGET', key, F.created_ms, F.number)
  return { known[1] or call('TIME')[1] .. '000', tonumber(known[2] or 0) }
end
local number = call('INCR', P .. ':number')
-- Its id begins with the server's time in milliseconds: a command less.
local entry = call('XADD', base .. 'events', 'MAXLEN', '~', '10000', '*', E.name, 'waiting', E.job_id, id,
  E.job_name, ARGV[6])
local created = string.sub(entry, 1, 13) -- which have as many digits until the year 2286
call('HSET', key, F.created_ms, created, F.number, number, F.state, 'waiting', F.name, ARGV[6], F.data, ARGV[7], F.queue,
  ARGV[1], unpack(ARGV, 8))
local last = call('HINCRBY', base .. 'meta', 'last:' .. ARGV[3], '1')
if last == 1 then -- the first one ever
  call('SADD', P .. ':queues', ARGV[1])
end
call('ZADD', base .. 'order', ARGV[3] * SPAN + MIDDLE + last, id)
if ARGV[4] ~= '' then
  call('LPUSH', ARGV[4], ARGV[5])
end
return { created, number }
