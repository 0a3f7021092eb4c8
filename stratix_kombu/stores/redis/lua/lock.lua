-- Take a lock if it is free; extend or release one that the token owns.
-- KEYS[1] the lock's key; ARGV[1] token; ARGV[2] new time to live in ms, or '' to release; ARGV[3] 'free' | 'owned'
-- Returns 1, or 0 if that is not so
local owner = redis.call('GET', KEYS[1])
if ARGV[3] == 'free' and not owner then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
elseif ARGV[3] == 'free' or owner ~= ARGV[1] then
  return 0
elseif ARGV[2] == '' then
  return redis.call('DEL', KEYS[1])
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
