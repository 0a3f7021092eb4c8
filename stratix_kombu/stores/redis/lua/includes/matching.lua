-- Texts in which '*' stands for any text and '?' for any character: see Pattern in model/finding.py. Answers a function that
-- tells whether a text is as the pattern says.
local function pattern(text)
  local parts = {}
  for part in string.gmatch(text .. '*', '([^*]*)%*') do
    part = string.gsub(part, '[%^%$%(%)%%%.%[%]%+%-]', '%%%0')
    part = string.gsub(part, '%z', '%%z')  -- which would end a pattern
    parts[#parts + 1] = string.gsub(part, '%?', '[^\128-\191][\128-\191]*')
  end
  parts[1] = '^' .. parts[1]
  parts[#parts] = parts[#parts] .. '$'
  return function(subject)
    local at = 1
    for _, part in ipairs(parts) do
      local _, last = string.find(subject, part, at)
      if not last then
        return false
      end
      at = last + 1
    end
    return true
  end
end
