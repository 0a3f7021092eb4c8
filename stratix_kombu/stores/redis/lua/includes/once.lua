-- A step that is made once, however often it is sent: its answer is kept while it may be sent again.
-- KEYS[2] '{namespace}:asked:<for how many ms>:<request>'
-- The step's second answer says whether it answers the same anyway when it is made again, so that nothing is to be kept.
local function step()
--- @step
end

-- What became ready is the third part of an answer (see send.lua); the messages in it are in the records already.
local MESSAGE, EACH = 5, 7

local function ready_in(answer)
  return type(answer) == 'table' and type(answer[3]) == 'table' and answer[3] or {}
end

local function keep(answer)
  local ready, messages = ready_in(answer), {}
  for i = MESSAGE, #ready, EACH do
    messages[i], ready[i] = ready[i], ready[i] ~= ''
  end
  redis.call('SET', KEYS[2], cmsgpack.pack(answer), 'PX', string.match(KEYS[2], ':(%d+):[^:]*$'))
  for i, message in pairs(messages) do
    ready[i] = message
  end
end

local kept = redis.call('GET', KEYS[2])
if not kept then
  local answer, same_anyway = step()
  if not same_anyway then
    keep(answer)
  end
  return answer
end
local answer = cmsgpack.unpack(kept)
local ready = ready_in(answer)
for i = MESSAGE, #ready, EACH do
  ready[i] = ready[i] and redis.call('HGET', KEYS[1] .. ':job:' .. ready[i - MESSAGE + 1], 'msg') or ''
end
return answer
