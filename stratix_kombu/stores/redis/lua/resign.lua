-- A clock leads no longer, and does not rest.
-- KEYS[1] '{namespace}'; ARGV[1] clock
-- Returns 1 if it led
--- @again

local leader, bell = KEYS[1] .. ':leader', KEYS[1] .. ':wake:' .. ARGV[1]
if redis.call('HGET', leader, 'clock') ~= ARGV[1] then
  return 0
end
redis.call('DEL', leader)
redis.call('RPUSH', bell, '')
redis.call('PEXPIRE', bell, 30000)
return 1
