-- The queues in which a job has failed, with its own, where it fails now; before that, for a letter, those of what it tells
-- of. nil if a letter does not say.
local function path_of(queue, kind, data)
  if kind ~= 'letter' then
    return { queue }
  end
  local letter = decoded(data or '')
  if not letter then
    return nil
  end
  local path = letter.path
  if type(path) ~= 'table' then -- it tells of a job that was no letter
    path = letter.queue and { letter.queue }
  end
  if path then
    path[#path + 1] = queue
  end
  return path
end

-- Add the letter of a job that has failed, if it wants one: as letter_for in model/letter.py.
local function bury(id, reason)
  local v = read(id, F.dead_letter, F.queue, F.name, F.data, F.options, F.attempts_made,
    F.attempts_started, F.max_attempts, F.number, F.priority, F.max_stalled, F.keep_completed, F.keep_failed, F.limit,
    F.kind)
  local path = v[1] and path_of(v[2], v[15], v[4])
  if not path then
    return
  end
  for _, queue in ipairs(path) do
    if queue == v[1] then
      return
    end
  end
  --- @include add_job
  local function text(value)
    return value and cjson.encode(value) or 'null'
  end
  local letter = '{"id":' .. text(id) .. ',"queue":' .. text(v[2]) .. ',"name":' .. text(v[3]) .. ',"data":'
    .. (v[4] or 'null') .. ',"options":' .. text(v[5] or '') .. ',"reason":' .. text(reason) .. ',"attempts":'
    .. num(v[6], 0) .. ',"max_attempts":' .. num(v[8], 1) .. ',"again":{"priority":' .. num(v[10], 0) .. ',"max_stalled":'
    .. (num(v[11]) or 'null') .. ',"keep_completed":' .. text(v[12]) .. ',"keep_failed":' .. text(v[13]) .. ',"limit":'
    .. (v[14] or 'null') .. '}' .. (v[15] == 'letter' and ',"path":' .. text(path) or '') .. '}'
  local base = #id <= 200 and id or redis.sha1hex(id)
  local letter_id = string.format('%s#dead.%.0f.%.0f', base, num(v[9], 0), num(v[7], 0))
  if add_job(v[1], letter_id, v[3], letter, '', '{"kind":"letter"}') then
    redis.call('HSET', job_key(letter_id), F.failed_reason, reason)
  end
end
