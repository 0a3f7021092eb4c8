-- What the broker's list of a priority ends with, see send.lua.
local function suffix_of(priority)
  local place = 0
  for suffix in string.gmatch(ARGV[3] .. '|', '([^|]*)|') do
    if place == priority then
      return suffix
    end
    place = place + 1
  end
  return ''
end
