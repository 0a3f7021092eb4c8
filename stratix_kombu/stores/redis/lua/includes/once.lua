-- A step that is made once, however often it is sent: its answer is kept while it may be sent again. What stands before
-- '--- @once' in the script is no part of it.
-- KEYS[2] '{namespace}:asked:<for how many ms>:<request>'
-- The step's second answer says whether it answers the same anyway when it is made again, so that nothing is to be kept.
-- What became ready is the third part of an answer (see send.lua); the messages in it are in the records already.
local kept = redis.call('GET', KEYS[2])
if kept then
  local answer = cmsgpack.unpack(kept)
  local ready = type(answer) == 'table' and type(answer[3]) == 'table' and answer[3] or {}
  for i = R.message, #ready, R.parts do
    ready[i] = ready[i] and redis.call('HGET', KEYS[1] .. ':job:' .. ready[i - R.message + R.id], F.message) or ''
  end
  return answer
end

local function step()
--- @step
end

local answer, same_anyway = step()
if same_anyway then
  return answer
end
local ready, messages = type(answer) == 'table' and type(answer[3]) == 'table' and answer[3] or {}, {}
for i = R.message, #ready, R.parts do
  messages[i], ready[i] = ready[i], ready[i] ~= ''
end
redis.call('SET', KEYS[2], cmsgpack.pack(answer), 'PX', string.match(KEYS[2], ':(%d+):[^:]*$'))
for i, message in pairs(messages) do
  ready[i] = message
end
return answer
