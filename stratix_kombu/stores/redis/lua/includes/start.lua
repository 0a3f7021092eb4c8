-- Starting a job. `v` is its record as it stands there, `score` where it stood in the order, nil if it did not.
-- What it finds to be so of most jobs is noted in `since`, as complete_usual.lua would have to look for it in many fields.
--- @include instant

local function begin(queue, key, id, v, token, at, worker, fallback, score)
  local begun = v[F.attempts_started] and num(v[F.attempts_started], 0) + 1 or 1
  local is_usual = not (v[F.deduplication] or v[F.group] or v[F.failed_reason] and not v[F.attempts_made])
  redis.call('HSET', key, F.state, 'active', F.token, token, F.attempts_started, begun == 1 and '1' or begun,
    F.processed_ms, instant(at), F.worker, worker, F.place, score or '', F.since,
    is_usual and (v[F.waiting_ms] or v[F.created_ms]) or '')
  if fallback then
    if fallback.dead_letter and not v[F.dead_letter] then
      redis.call('HSET', key, F.dead_letter, fallback.dead_letter)
    end
    for _, field in ipairs(v[F.kind] == 'letter' and { F.keep_completed, F.keep_failed } or {}) do
      if fallback[field] then
        redis.call('HSET', key, field, fallback[field])
      end
    end
  end
  if score and v[F.group] then
    local priority, meta = v[F.priority] or '0', queue_key(queue, 'meta')
    local place = tonumber(score) - tonumber(priority) * 2 ^ 44 - 2 ^ 43
    redis.call('HINCRBY', queue_key(queue, 'grouped'), v[F.group], 1)
    if num(redis.call('HGET', meta, 'last:' .. priority), 0) < place then
      redis.call('HSET', meta, 'last:' .. priority, string.format('%.0f', place))
    end
  end
  tell(queue, 'active', id, v[F.name])
  return begun
end
