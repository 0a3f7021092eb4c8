-- The beginning of a text: so many bytes at most, and no part of a character.
local function bounded(text, last)
  if #text <= last then
    return text
  end
  while last > 0 and string.find(string.sub(text, last + 1, last + 1), '[\128-\191]') do
    last = last - 1
  end
  return string.sub(text, 1, last)
end
