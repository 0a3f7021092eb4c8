-- Adding a job as most are: no job has or had its id, and it waits at once.
--- @include place

local known_queues = {}

local function know_queue(queue)
  if not known_queues[queue] then
    known_queues[queue] = true
    redis.call('SADD', P .. ':queues', queue)
  end
end

-- What the record of a job holds that does not follow from its state; `more` as add_job has it in `extra`.
local function fields_of(queue, name, data, options, more)
  local fields = { F.name, name, F.data, data, F.queue, queue }
  if options ~= '' then
    fields[7], fields[8] = F.options, options
  end
  if next(more) then
    --- @include kept
  end
  return fields
end

local function is_plain(more)
  return not (more.dependencies or more.delay_ms or more.due_ms or more.deduplication or more.vacant or more.carries)
end

local function add_plain(queue, id, name, data, options, more, number)
  local fields, priority = fields_of(queue, name, data, options, more), more.priority or 0
  local n = #fields
  fields[n + 1], fields[n + 2], fields[n + 3], fields[n + 4] = F.created_ms, now, F.number, number
  fields[n + 5], fields[n + 6] = F.state, 'waiting'
  redis.call('HSET', job_key(id), unpack(fields))
  know_queue(queue)
  tell(queue, 'waiting', id, name)
  if more.message or more.forward then
    redis.call('ZADD', queue_key(queue, 'waiting:' .. priority), order(), id)
    --- @include send_native
    send_native(id, queue, name, priority, more.message, more.forward and '1')
    return
  end
  redis.call('ZADD', queue_key(queue, 'order'), next_score(queue, priority, more.group), id)
  send_permit(queue, id, name, priority, more.group)
end
