-- What of `more` is kept with the record, after the `fields` that each has.
local last = #fields
for _, field in ipairs({ --[[@words kept]] }) do
  if more[field] then
    fields[last + 1], fields[last + 2], last = field, more[field], last + 2
  end
end
for _, flag in ipairs({ --[[@words flags]] }) do
  if more[flag] then
    fields[last + 1], fields[last + 2], last = flag, 1, last + 2
  end
end
