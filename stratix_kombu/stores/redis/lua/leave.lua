-- End a worker's presence on queues.
-- KEYS[1] '{namespace}'; ARGV[1] worker; ARGV[2] 1 if it serves no other ones; then the queues
-- Returns 1
--- @again
--- @include base

for i = 3, #ARGV do
  redis.call('HDEL', queue_key(ARGV[i], 'serving'), ARGV[1])
  redis.call('HDEL', queue_key(ARGV[i], 'meta'), 'took:' .. ARGV[1])
  redis.call('HDEL', P .. ':serves:' .. ARGV[1], ARGV[i])
end
if ARGV[2] == '1' then
  redis.call('ZREM', P .. ':processes', ARGV[1])
  redis.call('HDEL', P .. ':process', ARGV[1])
  redis.call('DEL', P .. ':process:' .. ARGV[1], P .. ':serves:' .. ARGV[1])
end
return 1
