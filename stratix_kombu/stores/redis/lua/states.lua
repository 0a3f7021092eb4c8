-- The states of jobs.
-- KEYS[1] '{namespace}'; ARGV ids
-- Returns a state or '' for each
--- @again
--- @include base

local found = {}
for i = 1, #ARGV do
  found[i] = read(ARGV[i], F.state)[1] or ''
end
return found
