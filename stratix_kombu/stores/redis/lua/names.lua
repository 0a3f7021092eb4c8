-- Names of jobs whose attempts are told apart.
-- KEYS[1] '{namespace}'; ARGV[1] queue
-- Returns the names
--- @again
--- @include base
--- @include fold

fold(ARGV[1])
return redis.call('HKEYS', queue_key(ARGV[1], 'named'))
