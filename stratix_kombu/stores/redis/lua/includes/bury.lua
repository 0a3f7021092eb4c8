-- Add the letter of a job that has failed, if it wants one: as letter_for in model/letter.py.
local function bury(id, reason)
  local v = read(id, F.dead_letter, F.queue, F.name, F.data, F.options, F.attempts_made,
    F.attempts_started, F.max_attempts, F.number, F.priority, F.max_stalled, F.keep_completed, F.keep_failed, F.limit)
  if not v[1] then
    return
  end
  --- @include add_job
  local function text(value)
    return value and cjson.encode(value) or 'null'
  end
  local letter = '{"id":' .. text(id) .. ',"queue":' .. text(v[2]) .. ',"name":' .. text(v[3]) .. ',"data":'
    .. (v[4] or 'null') .. ',"options":' .. text(v[5] or '') .. ',"reason":' .. text(reason) .. ',"attempts":'
    .. num(v[6], 0) .. ',"max_attempts":' .. num(v[8], 1) .. ',"again":{"priority":' .. num(v[10], 0) .. ',"max_stalled":'
    .. (num(v[11]) or 'null') .. ',"keep_completed":' .. text(v[12]) .. ',"keep_failed":' .. text(v[13]) .. ',"limit":'
    .. (v[14] or 'null') .. '}}'
  local base = #id <= 200 and id or redis.sha1hex(id)
  local letter_id = string.format('%s#dead.%.0f.%.0f', base, num(v[9], 0), num(v[7], 0))
  if add_job(v[1], letter_id, v[3], letter, '', '{"kind":"letter"}') then
    redis.call('HSET', job_key(letter_id), F.failed_reason, reason)
  end
end
