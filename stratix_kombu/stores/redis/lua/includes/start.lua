-- Starting a job. `v` is its record by names, `score` where it stood in the order, nil if it did not.
local function begin(queue, id, v, token, at, worker, fallback, score)
  local key, begun = job_key(id), num(v.begun, 0) + 1
  local waited = math.max(at - num(v.waiting or v.created, at), 0)
  redis.call('HSET', key, 'state', 'active', 'token', token, 'begun', begun, 'started', at, 'worker', worker, 'waited', waited,
    'place', score or '')
  if fallback then
    if fallback.dead and not v.dead then
      redis.call('HSET', key, 'dead', fallback.dead)
    end
    for _, field in ipairs(v.kind == 'letter' and { 'keep_completed', 'keep_failed' } or {}) do
      if fallback[field] then
        redis.call('HSET', key, field, fallback[field])
      end
    end
  end
  if score and v.group then
    local prio, meta = v.prio or '0', queue_key(queue, 'meta')
    local place = tonumber(score) - tonumber(prio) * 2 ^ 44 - 2 ^ 43
    redis.call('HINCRBY', queue_key(queue, 'grouped'), v.group, 1)
    if num(redis.call('HGET', meta, 'last:' .. prio), 0) < place then
      redis.call('HSET', meta, 'last:' .. prio, string.format('%.0f', place))
    end
  end
  tell(queue, 'active', id, v.name)
  return begun
end
