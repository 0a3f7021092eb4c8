-- Adding an edge to a job that has not started; the outcome if the dependency has ended.
local function add_edge(job, dependency)
  local outcome = outcome_of(dependency)
  redis.call('HSET', job_key(job.id) .. ':dependencies', dependency, outcome and outcome.state or '')
  if not outcome then
    job.pending = bump(job.id, 'pending', 1)
  end
  redis.call('ZADD', job_key(dependency) .. ':dependents', outcome and 1 or 0, job.id)
  return outcome
end
