-- Adding a job as most are: no job has or had its id, and it waits at once.
local known_queues = {}
local KEPT = { 'prio', 'max', 'keep_completed', 'keep_failed', 'limit', 'msg', 'stalls', 'dead', 'kind' }
local FLAGS = { 'optional', 'vacant', 'forward' }

-- What the record of a job holds that is not told by its state; `more` as add_job has it in `extra`.
local function fields_of(queue, name, data, options, more)
  if not known_queues[queue] then
    known_queues[queue] = true
    redis.call('SADD', P .. ':queues', queue)
  end
  local fields = { 'name', name, 'data', data, 'queue', queue }
  local n = 6
  if options ~= '' then
    fields[7], fields[8], n = 'opts', options, 8
  end
  if next(more) then
    for _, field in ipairs(KEPT) do
      if more[field] then
        fields[n + 1], fields[n + 2], n = field, more[field], n + 2
      end
    end
    for _, flag in ipairs(FLAGS) do
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

local function add_plain(queue, id, name, data, options, more, number)
  local fields, prio = fields_of(queue, name, data, options, more), more.prio or 0
  local n = #fields
  fields[n + 1], fields[n + 2], fields[n + 3], fields[n + 4] = 'created', now, 'number', number
  fields[n + 5], fields[n + 6] = 'state', 'waiting'
  redis.call('HSET', job_key(id), unpack(fields))
  redis.call('ZADD', queue_key(queue, 'waiting:' .. prio), order(), id)
  tell(queue, 'waiting', id, name)
  send(id, queue, name, prio, more.msg, more.forward and '1')
end
