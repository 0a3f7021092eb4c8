-- Add the letter of a job that has failed, if it wants one.
local function bury(id, reason)
  local v = read(id, 'dead', 'queue', 'name', 'data', 'opts', 'made', 'begun', 'max')
  if not v[1] then
    return
  end
  local letter = '{"id":' .. cjson.encode(id) .. ',"queue":' .. cjson.encode(v[2]) .. ',"name":' .. cjson.encode(v[3])
    .. ',"data":' .. (v[4] or 'null') .. ',"options":' .. cjson.encode(v[5] or '') .. ',"reason":' .. cjson.encode(reason)
    .. ',"attempts":' .. num(v[6], 0) .. ',"max_attempts":' .. num(v[8], 1) .. '}'
  add_job(v[1], id .. '.dead.' .. num(v[7], 0), v[3], letter, '', '')
end
