-- Write what a job depends on, as it was in another store; an edge that is known stays as it is.
-- KEYS[1] '{namespace}'; ARGV[1] job; then per dependency: id, number, state or '', under which name it is known, 1 if how
--   it ended is given, and that: state, result, reason, kind; '' for a result that there is not
-- Returns nothing
--- @again
--- @include base
--- @include graph

local job, written = { id = ARGV[1] }, {}
for i = 2, #ARGV, 9 do
  local dependency, number, state, name = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local outcome = P .. ':outcome:' .. name
  if redis.call('HEXISTS', job_key(job.id) .. ':dependencies', dependency) == 0 then
    if ARGV[i + 4] == '1' then
      redis.call('HSET', outcome, F.state, ARGV[i + 5], F.failed_reason, ARGV[i + 7], F.number, number, F.kind, ARGV[i + 8])
      if ARGV[i + 6] ~= '' then
        redis.call('HSET', outcome, F.result, ARGV[i + 6])
      end
    end
    write_edge(job, dependency, tonumber(number), state)
    written[#written + 1] = name == dependency and dependency or nil
    if redis.call('EXISTS', job_key(name)) == 1 or redis.call('EXISTS', outcome) == 1 then
      redis.call('ZADD', job_key(name) .. ':dependents', state ~= '' and 1 or 0, job.id)
    end
  end
end
if #written > 0 then
  join_flow(job.id, num(read(job.id, F.number)[1], 0), written)
end
