-- What of `more` is kept with the record, after the `fields` that each has.
local kept, last = { --[[@kept]] }, #fields
for i = 1, #kept, 2 do
  local value = more[kept[i]]
  if value then
    fields[last + 1], fields[last + 2], last = kept[i + 1], value == true and 1 or value, last + 2
  end
end
