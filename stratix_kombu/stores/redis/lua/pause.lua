-- Pause a queue.
-- KEYS[1] '{namespace}'; ARGV[1] queue
-- Returns 1 if that is a change
-- Events paused
--- @include base
--- @include despite_full

if redis.call('HSETNX', queue_key(ARGV[1], 'meta'), 'paused', now) == 0 then
  return 0
end
redis.call('SADD', P .. ':queues', ARGV[1])
tell(ARGV[1], 'paused')
return 1
