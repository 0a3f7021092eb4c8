-- A worker serves queues: see renew.lua. Of each it is known how many jobs it runs at a time.
-- KEYS[1] '{namespace}'; ARGV[1] worker; then per queue: name, number of jobs
-- Returns 1
--- @again
--- @include base
--- @include despite_full

local serves = P .. ':serves:' .. ARGV[1]
for i = 2, #ARGV, 2 do
  redis.call('SADD', P .. ':queues', ARGV[i])
  redis.call('HSET', queue_key(ARGV[i], 'serving'), ARGV[1], ARGV[i + 1])
  redis.call('HSET', serves, ARGV[i], ARGV[i + 1])
end
-- Nobody removes it if this worker dies and no other one is left. Its renewals give it another time, as long as it lives.
redis.call('PEXPIRE', serves, 86400000)
return 1
