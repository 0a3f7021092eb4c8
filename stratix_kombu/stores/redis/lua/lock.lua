-- Extend or release a lock, if the token owns it.
-- KEYS[1] the lock's key; ARGV[1] token; ARGV[2] new time to live in ms, or '' to release
-- Returns 1, or 0 if the token does not own it
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  return redis.call('DEL', KEYS[1])
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
