-- Members of a set, sorted set or hash, a page at a time, in no order.
-- KEYS[1] '{namespace}'; ARGV[1] 'SSCAN' | 'ZSCAN' | 'HSCAN'; ARGV[2] the key, without the namespace; ARGV[3] cursor, first
--   '0'; ARGV[4] about how many
-- Returns {cursor, members (with their scores or values)}; the cursor is '0' after the last page
--- @again
return redis.call(ARGV[1], KEYS[1] .. ARGV[2], ARGV[3], 'COUNT', ARGV[4])
