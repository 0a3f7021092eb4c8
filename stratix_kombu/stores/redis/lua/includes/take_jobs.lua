-- Taking jobs, see take.lua, whose ARGV[4..13] these are.
--- @include readable
--- @include expect
--- @include start

local function take_jobs()
  local queue, worker, lease, want = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
  local meta, waiting, active = queue_key(queue, 'meta'), queue_key(queue, 'order'), queue_key(queue, 'active')
  local set = redis.call('HMGET', meta, 'paused', 'limit', 'global_concurrency', 'held', 'owed', 'lined', 'took:' .. worker,
    'fair')
  local request = ARGV[13]
  if set[7] and string.sub(set[7], 1, #request + 1) == request .. '\n' then
    --- @include took
    return answer_again(set[7])
  end

  local limit, most, held, lined = set[2] or ARGV[8], num(set[3], tonumber(ARGV[9])), num(set[4], 0), set[6]
  local group_bound, permits = tonumber(ARGV[10]), tonumber(ARGV[12])
  local fallback = ARGV[11] ~= '' and cjson.decode(ARGV[11]) or nil
  local running, room, looked, is_empty = 0, want, 0, false
  local claims, ids, leases, last, n, limited = {}, {}, {}, {}, 0, 0
  local why, opens, left = '', 0, 0
  -- The record that is looked at: one table for all of them, since a new one would be enlarged five times for each.
  local flat, size, v = nil, 0, {}
  -- What limits and groups need is made when there are any.
  local B, aside, book
  if limit ~= '' or lined then
    --- @include aside
    book = B.open(limit)
  end

  if set[1] then
    why = 'paused'
  elseif held > now then
    why, opens, limited = 'limited', held, 1
  else
    if most > 0 then
      running = redis.call('ZCARD', active)
      room = math.max(math.min(want, most - running), 0)
    end
    if book then
      room = B.room(book, room)
    end
    if lined and room > 0 then
      aside.bring_back(queue, room, group_bound)
    end
  end

  local is_closed, until_text = why ~= '', instant(now + lease)
  while not is_closed and n < room and looked < want + 250 and not is_empty do
    local asked = math.min(room - n, want + 250 - looked)
    local page = redis.call('ZPOPMIN', waiting, asked)
    is_empty, looked = #page < 2 * asked, looked + #page / 2
    for i = 1, #page, 2 do
      local id, score = page[i], page[i + 1]
      is_closed = is_closed or (book and B.closed(book))
      if is_closed then
        redis.call('ZADD', waiting, score, id)
        is_empty = false
      else
        local key = job_key(id)
        for j = 1, size, 2 do
          v[flat[j]] = nil
        end
        flat = redis.pcall('HGETALL', key)
        size = #flat
        for j = 1, size, 2 do
          v[flat[j]] = flat[j + 1]
        end
        local at, own, is_aside = now, nil, false
        if v[F.state] ~= 'waiting' or not is_readable(v[F.queue], v[F.name], v[F.state], v[F.priority]) then
          --- @include lost
          drop_or_note(id, queue, is_readable(v[F.queue], v[F.name], v[F.state], v[F.priority]))
          is_aside = true
        elseif v[F.limit] or v[F.group] then
          if not aside then
            --- @include aside
          end
          is_aside, own = aside.set(id, score, v)
        end
        if not is_aside then
          if book or own then
            at = aside.start(book, own)
          end
          local begun = begin(queue, key, id, v, request .. ':' .. n, at, worker, fallback, score)
          leases[2 * n + 1], leases[2 * n + 2] = at == now and until_text or instant(at + lease), id
          flat[size + 1], flat[size + 2], flat[size + 3], flat[size + 4] = id, n, at, begun
          claims[n + 5], ids[n + 1] = flat, id
          last[v[F.priority] or '0'] = score
          n = n + 1
        end
      end
    end
  end

  if n > 0 then
    redis.call('ZADD', active, unpack(leases))
    expect(queue, 'active', now + lease)
    for priority, score in pairs(set[8] and last or {}) do
      redis.call('ZADD', queue_key(queue, 'starts'), 'XX', 'GT', score, priority)
    end
    if ARGV[1] ~= '' and n > permits then
      --- @include drop_permits
      permits = permits + drop_permits(ARGV[2] .. queue .. string.match(ARGV[3], '^[^|]*'), n - permits)
    end
  end

  local line = lined and tonumber(redis.call('ZRANGE', queue_key(queue, 'lines'), 0, 0, 'WITHSCORES')[2]) or math.huge
  local size = is_empty and 0 or redis.call('ZCARD', waiting)
  local total = size + (lined and redis.call('ZCARD', queue_key(queue, 'aside')) or 0)
  if why == '' then
    local closed, short = book and B.closed(book), n < want
    if total == 0 then
      why = short and 'empty' or ''
    elseif most > 0 and running + n >= most then
      why = short and 'crowded' or ''
    elseif closed then
      why, opens, limited = short and 'limited' or '', closed, limited + (short and 1 or 0)
    else
      left = (size > 0 or line <= now) and 1 or 0
      why, opens = short and 'empty' or '', left == 0 and line < math.huge and line or 0
    end
  end

  local owed, before = math.max(math.min(num(set[5], 0) + permits - n, total), 0), num(set[5], 0)
  local notes = {}
  if n > 0 or why ~= 'empty' or total > 0 then
    notes[1] = 'took:' .. worker
    notes[2] = request .. '\n' .. why .. '\n' .. opens .. '\n' .. left .. '\n' .. table.concat(ids, '\n')
    if why ~= '' then
      notes[3], notes[4], notes[5], notes[6] = 'by_limit', ARGV[8], 'by_bound', ARGV[9]
      if why == 'crowded' then
        notes[7], notes[8] = 'crowded', 1
      end
    end
  end
  if owed > 0 then
    notes[#notes + 1], notes[#notes + 2] = 'owed', owed
    local at = opens > 0 and opens or math.max(line, now)
    if at < math.huge then
      expect(queue, 'opens', at)
    end
  elseif before > 0 then
    redis.call('HDEL', meta, 'owed')
  end
  if notes[1] then
    redis.call('HSET', meta, unpack(notes))
  end
  --- @include limited
  claims[1], claims[2], claims[3], claims[4] = now, why, opens, left
  return claims
end
