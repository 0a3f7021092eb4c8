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
  if options ~= '' then
    fields[7], fields[8] = 'opts', options
  end
  if next(more) then
    --- @include kept
  end
  return fields
end

local function is_plain(more)
  return not (more.deps or more.delay or more.due or more.dedup or more.vacant or more.carries)
end

local function add_plain(queue, id, name, data, options, more, number)
  local fields, prio = fields_of(queue, name, data, options, more), more.prio or 0
  local n = #fields
  fields[n + 1], fields[n + 2], fields[n + 3], fields[n + 4] = 'created', now, 'number', number
  fields[n + 5], fields[n + 6] = 'state', 'waiting'
  redis.call('HSET', job_key(id), unpack(fields))
  know_queue(queue)
  tell(queue, 'waiting', id, name)
  if more.msg or more.forward then
    redis.call('ZADD', queue_key(queue, 'waiting:' .. prio), order(), id)
    --- @include send_native
    send_native(id, queue, name, prio, more.msg, more.forward and '1')
    return
  end
  redis.call('ZADD', queue_key(queue, 'order'), next_score(queue, prio, more.group), id)
  send_permit(queue, id, name, prio, more.group)
end
