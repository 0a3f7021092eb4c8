-- Add the letter of a job that has failed, if it wants one.
local function bury(id, reason)
  local v = redis.call('HMGET', job_key(id), 'dead', 'queue', 'name', 'data', 'opts', 'made', 'begun', 'max')
  if not v[1] then
    return
  end
  local letter = '{"id":' .. cjson.encode(id) .. ',"queue":' .. cjson.encode(v[2]) .. ',"name":' .. cjson.encode(v[3])
    .. ',"data":' .. v[4] .. ',"options":' .. cjson.encode(v[5] or '') .. ',"reason":' .. cjson.encode(reason)
    .. ',"attempts":' .. (v[6] or 0) .. ',"max_attempts":' .. (v[8] or 1) .. '}'
  add_job(v[1], id .. '.dead.' .. (v[7] or 0), v[3], letter, '', '')
end
