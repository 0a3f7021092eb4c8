-- What take.lua needs where there are limits or groups.
--- @include books
--- @include lines

-- Whether its own limit or its group keeps a job from starting: then it is set aside; and the book of its limit.
local function set_if_closed(id, score, v)
  local name, at
  local own = B.open(v[F.limit])
  if own then
    local closed = B.closed(own)
    if closed or (lined and is_behind(queue, 't:' .. own.limit.key, score, id)) then
      name, at, limited = 't:' .. own.limit.key, closed or now, limited + 1
    end
  end
  if v[F.group] and not name then
    local full = group_bound > 0 and num(redis.call('HGET', queue_key(queue, 'grouped'), v[F.group]), 0) >= group_bound
    if full or (lined and is_behind(queue, 'g:' .. v[F.group], score, id)) then
      name = 'g:' .. v[F.group]
      redis.call('HSET', meta, 'group_bound', group_bound)
    end
  end
  if name then
    put_aside(queue, id, score, name, at)
    lined = '1'
  end
  return name ~= nil, own
end

-- The instant at which a job starts, counted by the limits.
local function start_in(of_queue, own)
  local at = math.max(now, of_queue and B.free(of_queue) or 0, own and B.free(own) or 0)
  if of_queue then
    B.start(of_queue, at)
  end
  if own then
    B.start(own, at)
  end
  return at
end

if lined and num(redis.call('HGET', meta, 'group_bound'), 0) ~= group_bound then
  open_groups(queue, group_bound)
end
aside = { set = set_if_closed, start = start_in, bring_back = bring_back }
