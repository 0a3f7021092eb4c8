-- The jobs that jobs wait for, without the ids that other jobs have by now: a page of each, as many of them as have together
-- about so many edges.
-- KEYS[1] '{namespace}'; ARGV[1] page; then per job: id, cursor, first '0'
-- Returns for the first ones of the jobs: {cursor, ids}; the cursor is '0' after the last page of a job
--- @again
--- @include base
--- @include graph

local found, left = {}, tonumber(ARGV[1])
for i = 2, #ARGV, 2 do
  local page = redis.call('HSCAN', job_key(ARGV[i]) .. ':dependencies', ARGV[i + 1], 'COUNT', ARGV[1])
  local ids, edges = {}, page[2]
  for j = 1, #edges, 2 do
    local number, state = read_edge(edges[j + 1])
    if state == '' and place_of(edges[j], number) == edges[j] then
      ids[#ids + 1] = edges[j]
    end
  end
  found[#found + 1] = { page[1], ids }
  left = left - #edges / 2 - 1
  if left <= 0 then
    break
  end
end
return found
