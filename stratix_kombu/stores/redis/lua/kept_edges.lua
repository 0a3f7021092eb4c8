-- What a job depends on, for copying it, a page at a time.
-- KEYS[1] '{namespace}'; ARGV[1] job; ARGV[2] cursor, first '0'; ARGV[3] about how many
-- Returns {cursor, then per dependency: id, '<number>:<state or nothing>', under which name it is known, 1 if it has been
--   removed and has left how it ended, and that: state, result, reason, kind}; the cursor is '0' after the last page
--- @again
--- @include base
--- @include graph

local page, found = redis.call('HSCAN', job_key(ARGV[1]) .. ':dependencies', ARGV[2], 'COUNT', ARGV[3]), {}
for i = 1, #page[2], 2 do
  local id, value = page[2][i], page[2][i + 1]
  local name = place_of(id, (read_edge(value)))
  local ended = {}
  if redis.call('EXISTS', job_key(name)) == 0 then
    ended = redis.call('HMGET', P .. ':outcome:' .. name, F.state, F.result, F.failed_reason, F.kind)
  end
  for _, one in ipairs({ id, value, name, ended[1] and 1 or 0 }) do
    found[#found + 1] = one
  end
  for part = 1, 4 do
    found[#found + 1] = ended[part] or ''
  end
end
return { page[1], found }
