-- Take an edge away from a job that has not started.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] job; ARGV[5] dependency; ARGV[6] page
-- Returns {more, {}, ready} or {'gone'}, {'started', state}, {'unknown'}
-- Events waiting | delayed; those of release.lua
--- @include base
--- @include send
--- @include moves
--- @include graph
--- @include release
--- @include despite_full

local id, dependency = ARGV[4], ARGV[5]
local job = load(id)
if not job then
  return { 'gone' }
end
if job.state == 'active' or finished(job.state) then
  return { 'started', job.state }
end
local edges = job_key(id) .. ':dependencies'
local edge = redis.call('HGET', edges, dependency)
if not edge then
  return { 'unknown' }
end
local number, state = read_edge(edge)
redis.call('HDEL', edges, dependency)
if state == '' then
  job.pending = redis.call('HINCRBY', job_key(id), F.pending, -1)
end
forget_edge(id, dependency, number)
if redis.call('EXISTS', edges) == 0 then
  redis.call('ZREM', P .. ':flows', id)
end
if job.state == 'blocked' and job.pending == 0 then
  unblock(job)
end
return { release_page(tonumber(ARGV[6])), {}, sent() }
