-- Jobs that an ending one adds: a line with a JSON list of the arguments of add_job, `extra` decoded, and behind it all
-- messages: in `extra` stands how many bytes each one has.
local function successors_of(text)
  local line = string.find(text, '\n', 1, true)
  local at, added = line + 1, cjson.decode(string.sub(text, 1, line - 1))
  for _, new in ipairs(added) do
    local more = new[6]
    if more.message then
      more.message, at = string.sub(text, at, at + more.message - 1), at + more.message
    end
  end
  return added
end
