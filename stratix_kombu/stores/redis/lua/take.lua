-- Take the next jobs of a queue.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] worker; ARGV[6] lease in ms; ARGV[7] how many are
--   wanted; ARGV[8] the program's limit of the queue, JSON or ''; ARGV[9] its bound of active jobs or 0; ARGV[10] that of a
--   group's; ARGV[11] '' or JSON of what jobs say that do not say it themselves: dead_letter, and of letters keep_completed and
--   keep_failed; ARGV[12] messages of the broker that are dropped with this call; ARGV[13] request
-- Returns {now, why there are fewer or '', instant at which to ask again or 0, 1 if more are left, then per claim: {its
--   record as a flat list, id, position, start, attempts begun}}
-- Events active
-- What a worker took last stands in the queue's 'meta': `took:<worker>` = request, why, until, left and ids, a line each.
--- @again
--- @include base
--- @include take_jobs

return take_jobs()
