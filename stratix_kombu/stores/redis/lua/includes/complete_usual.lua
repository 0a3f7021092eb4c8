-- Completing jobs as most are: their claims are held, no job waits for them alone but one in whose place they add the next, they add
-- nothing but tasks, they are kept for a time, for ever or not at all, and nothing waits for their end. Without what the others
-- need, the making of which takes longer than all commands, and with as few texts and numbers made as can be. From ARGV[first]
-- on as complete_jobs.lua says; what that does is done here, too, if all of them are such. Then `is_completed` is true. That a
-- call was made before is seen by its claims.
--- @include clock
--- @include enough
--- @include replaced
local is_completed = false
local function complete_usual()
  local call, queue, jobs, ids, removes, adds = redis.call, nil, {}, {}, false, false
  local asked = { P .. ':reviving', P .. ':releasing', P .. ':seeking', P .. ':forgetting' }
  for i = first, #ARGV, 6 do
    local id = ARGV[i]
    local key = P .. ':job:' .. id
    local v = redis.pcall('HMGET', key, F.state, F.token, F.queue, F.name, F.keep_completed, F.since, F.attempts_made,
      F.processed_ms)
    queue = queue or v[3]
    v[9], v[10] = key, v[5] and string.match(v[5], '^:(%d+)$')
    local goes = v[5] == '0:' and string.sub(id, 1, 7) ~= 'repeat:' -- a run of a schedule, which looks at its end
    if v[1] ~= 'active' or v[2] ~= ARGV[i + 1] or not v[3] or v[3] ~= queue or not v[4] or v[5] and not (v[10] or goes)
      or not v[6] or v[6] == '' or jobs[id] or #jobs == 1000 then
      return
    end
    jobs[id], jobs[#jobs + 1], ids[#ids + 1], adds = true, v, id, adds or ARGV[i + 3] ~= ''
    asked[#asked + 1] = key .. ':dependents'
    if goes then
      removes, asked[#asked + 1] = true, key .. ':dependencies'
    end
  end
  if not queue then
    return
  end
  local tell_others, add_others
  local filled = {} -- which vacant job's place is taken, by the job that it waited for
  if adds then
    --- @include then_usual
    if not all_are_tasks() then
      return
    end
    add_others = add_successors
  end
  if call('EXISTS', unpack(asked)) > 0 then
    --- @include await_others
    if removes or not all_await_others(jobs) then
      return
    end
    tell_others = tell_dependents
  end
  local base = P .. ':q:' .. queue .. ':'
  local waits = call('HMGET', base .. 'meta', 'crowded', 'lined', 'unsent_lines')
  if waits[1] or waits[2] or waits[3] then
    return
  end
  is_completed = true

  -- Most of the jobs of a step have instants in common: each text of one is converted once.
  local numbers = {}
  local function number_of(text)
    local number = numbers[text]
    if number == nil then
      number = tonumber(text)
      number = number and math.abs(number) < 2 ^ 53 and number or false
      numbers[text] = number
    end
    return number
  end

  local score = time[1] .. string.format('%06d', time[2])
  local now_text, log = string.sub(score, 1, -4), base .. 'events'
  local places, expiring, expires = {}, {}, {}
  local note = { math.floor(now / 60000), { ['#0'] = #jobs } } -- see tally.lua
  local active = base .. 'active'
  call('ZREM', active, unpack(ids)) -- first: see despite_full.lua
  for m, v in ipairs(jobs) do
    local i = first + 6 * m - 6
    local id, result = ARGV[i], ARGV[i + 2]
    if v[5] == '0:' then -- see removal.lua
      call('DEL', v[9], v[9] .. ':logs', P .. ':attempts:' .. id)
      call('SET', P .. ':ended:' .. id, 'completed:' .. now_text .. ':c:' .. v[2] .. '\n' .. result, 'PX', '60000')
    else
      call('HSET', v[9], F.state, 'completed', F.finished_ms, now_text, F.attempts_made,
        v[7] and string.format('%.0f', (number_of(v[7]) or 0) + 1) or '1', F.result, result,
        replaced(ARGV[i + 4], ARGV[i + 5]))
      if v[7] then
        call('HDEL', v[9], F.failed_reason, F.stacktrace)
      end
      if v[10] then
        expires[v[10]] = expires[v[10]] or string.format('%.0f', now + v[10])
        expiring[#expiring + 1] = expires[v[10]]
        expiring[#expiring + 1] = id
      end
      places[#places + 1] = m == 1 and score or string.format('%d', now_us + m - 1)
      places[#places + 1] = id
    end
    local began, n = number_of(v[8] or '') or now, 3 * m
    note[n], note[n + 1] = math.max(began - (number_of(v[6]) or began), 0), math.max(now - began, 0)
    note[n + 2] = v[4]
    if #result <= 4096 then -- INLINE_RESULT_BYTES
      call('XADD', log, 'MAXLEN', '~', '10000', '*', E.name, 'completed', E.job_id, id, E.job_name, v[4], E.value, result)
    else
      call('XADD', log, 'MAXLEN', '~', '10000', '*', E.name, 'completed', E.job_id, id, E.job_name, v[4])
    end
  end
  if places[1] then
    call('ZADD', base .. 'completed', unpack(places))
  end
  if expiring[1] then
    call('ZADD', P .. ':expiring', unpack(expiring))
  end
  if tell_others then
    tell_others()
  end
  if add_others then
    add_others(now_text)
  end
  if call('EXISTS', active, base .. 'order', base .. 'waiting:0') == 0 then -- one of them is there, mostly
    --- @include base
    --- @include drained
    tell_if_drained(queue)
  end
  local entries = call('RPUSH', base .. 'noted', cmsgpack.pack(note))
  if entries >= ENTRIES or entries * #jobs >= ATTEMPTS then
    --- @include base
    --- @include fold
    fold(queue)
  end
end
complete_usual()
