--- @include worklist

-- The edges of a job that goes are left to release_page, under a name of their own.
local function leave_edges(id)
  redis.call('ZREM', P .. ':flows', id)
  local name = incarnation(id, redis.call('INCR', P .. ':number'))
  redis.call('RENAME', job_key(id) .. ':dependencies', job_key(name) .. ':dependencies')
  add_to_worklist('forgetting', name)
end
