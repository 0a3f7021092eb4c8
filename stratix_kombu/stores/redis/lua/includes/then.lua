-- Jobs that an ending one adds: '' or a JSON list of the arguments of add_job.
--- @include tally

local function add_then(text)
  if text ~= '' then
    for _, new in ipairs(cjson.decode(text)) do
      add_job(unpack(new))
    end
  end
end

-- Whether the claim holds, or '*' is given for a job that has not ended; counts the attempt.
local function may_end(id, token)
  local v = read(id, 'state', 'token', 'queue', 'started', 'waited')
  local held = v[1] == 'active' and (v[2] == token or token == '*')
  if held then
    bump(id, 'made', 1)
    tally_attempt(v[3], num(v[4], now), num(v[5], 0))
  end
  return held or (token == '*' and v[1] and not finished(v[1]))
end
