-- Make a job that has not started wait for another.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] job; ARGV[5] dependency; ARGV[6] page
-- Returns {more, {}, ready} or {'gone'}, {'started', state}, {'unknown'}, {'cycle'}
-- Events blocked | waiting | delayed | failed
--- @include base
--- @include send
--- @include moves
--- @include release
--- @include edges

local id, dependency = ARGV[4], ARGV[5]
local job = load(id)
if not job then
  return { 'gone' }
end
if job.state == 'active' or finished(job.state) then
  return { 'started', job.state }
end
if redis.call('EXISTS', job_key(dependency)) == 0 then
  return { 'unknown' }
end
local seen, pending = {}, { dependency }
while #pending > 0 do
  local current = table.remove(pending)
  if current == id then
    return { 'cycle' }
  end
  if not seen[current] then
    seen[current] = true
    local edges = redis.call('HGETALL', job_key(current) .. ':dependencies')
    for i = 1, #edges, 2 do
      local number, state = read_edge(edges[i + 1])
      if state == '' and place_of(edges[i], number) == edges[i] then
        pending[#pending + 1] = edges[i]
      end
    end
  end
end
if redis.call('HEXISTS', job_key(id) .. ':dependencies', dependency) == 1 then
  return { 0, {}, ready }
end
local outcome = add_edge(job, dependency)
if not outcome then
  if job.state ~= 'blocked' then
    make_ready(job)
  end
elseif outcome.state ~= 'completed' and not job.optional then
  fail_job(job, reason_of(dependency, outcome), nil, dependency, outcome.result)
end
return { release_page(tonumber(ARGV[6])), {}, ready }
