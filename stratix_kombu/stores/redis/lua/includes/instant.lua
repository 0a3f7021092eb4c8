-- Instants as text: a number is converted by each command it is given to, which takes longer than the command.
local now_text = string.format('%d', now)

local function instant(at)
  return at == now and now_text or string.format('%.0f', at)
end
