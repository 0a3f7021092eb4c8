-- Make a job that has not started wait for others, all or none.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] job; ARGV[5] page; ARGV[6] of which graph the caller knows that the
--   edges close no cycle in it, or ''; then dependencies
-- Returns {more, {}, ready} or {'gone'}, {'started', state}, {'unknown', dependency}, {'cycle', dependency}, or {'unsure',
--   which graph it is}: the caller has to find out with reach.lua, and ask again
-- Events blocked | waiting | delayed | failed
--- @include base
--- @include send
--- @include moves
--- @include release
--- @include edges
--- @include cycle

local id = ARGV[4]
local job = load(id)
if not job then
  return { 'gone' }
end
if job.state == 'active' or finished(job.state) then
  return { 'started', job.state }
end
local new = {}
for i = 7, #ARGV do
  if redis.call('EXISTS', job_key(ARGV[i])) == 0 then
    return { 'unknown', ARGV[i] }
  elseif ARGV[i] == id then
    return { 'cycle', id }
  elseif redis.call('HEXISTS', job_key(id) .. ':dependencies', ARGV[i]) == 0 then
    new[#new + 1] = ARGV[i]
  end
end
if #new == 0 then
  return { 0, {}, sent() }
end
local graph = redis.call('GET', P .. ':graph') or '0'
if graph ~= ARGV[6] then
  local closes = closes_cycle(id, new)
  if closes then
    return { 'cycle', new[1] }
  elseif closes == nil then
    return { 'unsure', graph }
  end
end
graph_changes()
local failed_by, failure
for _, dependency in ipairs(new) do
  local outcome = add_edge(job, dependency)
  if outcome and outcome.state ~= 'completed' and not job.optional and not failed_by then
    failed_by, failure = dependency, outcome
  end
end
join_flow(id, job.number, new)
if failed_by then
  fail_job(job, reason_of(failed_by, failure), nil, failed_by, failure.result)
elseif job.pending > 0 and job.state ~= 'blocked' then
  make_ready(job)
end
return { release_page(tonumber(ARGV[5])), {}, sent() }
