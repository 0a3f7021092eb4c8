-- The clock that leads rests until the instant in ':leader': what makes something due sooner wakes it.
local function wake(at)
  local v = redis.call('HMGET', P .. ':leader', 'clock', 'rests')
  if at < num(v[2], 0) then
    local bell = P .. ':wake:' .. v[1]
    redis.call('HSET', P .. ':leader', 'rests', at)
    redis.call('RPUSH', bell, '')
    redis.call('PEXPIRE', bell, 30000)
  end
end
