-- Adding a job as most are: no job has or had its id, and it waits at once.
--- @include place

local known_queues = {}

local function know_queue(queue)
  if not known_queues[queue] then
    known_queues[queue] = true
    redis.call('SADD', P .. ':queues', queue)
  end
end

-- What the record of a job holds that is not told by its state; `more` as add_job has it in `extra`.
local function fields_of(queue, name, data, options, more)
  local fields = { 'name', name, 'data', data, 'queue', queue }
  local n = 6
  if options ~= '' then
    fields[7], fields[8], n = 'opts', options, 8
  end
  if next(more) then
    local kept = { 'prio', 'max', 'keep_completed', 'keep_failed', 'limit', 'msg', 'stalls', 'dead', 'kind', 'group' }
    for _, field in ipairs(kept) do
      if more[field] then
        fields[n + 1], fields[n + 2], n = field, more[field], n + 2
      end
    end
    for _, flag in ipairs({ 'optional', 'vacant', 'forward' }) do
      if more[flag] then
        fields[n + 1], fields[n + 2], n = flag, 1, n + 2
      end
    end
  end
  return fields
end

local function is_plain(more)
  return not (more.deps or more.delay or more.due or more.dedup or more.vacant or more.carries)
end

-- What is to be put into order, of one queue and priority after the other.
local plain = { queue = nil, prio = nil, ids = {} }

local function write_plain()
  local queue, prio, ids = plain.queue, plain.prio, plain.ids
  if #ids > 0 then
    local last = redis.call('HINCRBY', queue_key(queue, 'meta'), 'last:' .. prio, #ids)
    if last == #ids then -- the first ones ever
      know_queue(queue)
    end
    local first, key, scores = score_of(prio, last - #ids), queue_key(queue, 'order'), {}
    for i, id in ipairs(ids) do
      scores[2 * i - 1], scores[2 * i] = first + i, id
    end
    for i = 1, #scores, 4000 do
      redis.call('ZADD', key, unpack(scores, i, math.min(i + 3999, #scores)))
    end
  end
  plain.ids = {}
end

-- write_plain() has to come after the last one.
local function add_plain(queue, id, name, data, options, more, number)
  local fields, prio = fields_of(queue, name, data, options, more), more.prio or 0
  local n = #fields
  fields[n + 1], fields[n + 2], fields[n + 3], fields[n + 4] = 'created', now, 'number', number
  fields[n + 5], fields[n + 6] = 'state', 'waiting'
  redis.call('HSET', job_key(id), unpack(fields))
  tell(queue, 'waiting', id, name)
  if more.msg or more.forward then
    know_queue(queue)
    redis.call('ZADD', queue_key(queue, 'waiting:' .. prio), order(), id)
    --- @include send_native
    send_native(id, queue, name, prio, more.msg, more.forward and '1')
    return
  elseif more.group then
    know_queue(queue)
    write_plain()
    redis.call('ZADD', queue_key(queue, 'order'), next_score(queue, prio, more.group), id)
  else
    if plain.queue ~= queue or plain.prio ~= prio then
      write_plain()
      plain.queue, plain.prio = queue, prio
    end
    plain.ids[#plain.ids + 1] = id
  end
  send_permit(queue, id, name, prio, more.group)
end
