-- Where in a message the delivery tag begins that whoever made it has given it for its first sending; nil if it has none. To put
-- one into it makes two more texts of the whole message, and Lua in Redis reads each byte of each text that it makes.
local function tag_in(message)
  local before = math.max(#message - 80, 0)
  local at = string.find(string.sub(message, before + 1), ',"delivery_tag":"[^"]*"}}$')
  return at and before + at
end
