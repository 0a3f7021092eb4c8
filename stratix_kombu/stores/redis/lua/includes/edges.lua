--- @include outcome
--- @include graph

-- Adding an edge to a job that has not started; the outcome if the dependency has ended.
local function add_edge(job, dependency)
  local outcome, number = outcome_of(dependency)
  write_edge(job, dependency, number or 0, outcome and outcome.state or '')
  if not outcome then
    job.pending = bump(job.id, F.pending, 1)
  end
  if number then
    redis.call('ZADD', job_key(dependency) .. ':dependents', outcome and 1 or 0, job.id)
  end
  return outcome
end
