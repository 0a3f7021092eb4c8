-- Add jobs, all or none.
-- KEYS[1] '{namespace}'
-- ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] page for releases; ARGV[6] ids to be known first, JSON list of
--   {job, dependency} or ''; then per job: id, name, data, options, extra
-- Returns {more, duplicate ids, ready, instead} or {'unknown dependency', job, dependency}
-- Events waiting | delayed | blocked | failed | duplicated
--- @include base
--- @include send
--- @include moves
--- @include release
--- @include edges
--- @include add_job

if ARGV[6] ~= '' then
  for _, edge in ipairs(cjson.decode(ARGV[6])) do
    if redis.call('EXISTS', job_key(edge[1])) == 0 and redis.call('EXISTS', job_key(edge[2])) == 0 then
      return { 'unknown dependency', edge[1], edge[2] }
    end
  end
end
local duplicates = {}
for i = 7, #ARGV, 5 do
  if not add_job(ARGV[4], ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]) then
    duplicates[#duplicates + 1] = ARGV[i]
  end
end
for i = 1, #instead, 2 do
  for j = #duplicates, 1, -1 do
    if duplicates[j] == instead[i] then
      table.remove(duplicates, j)
    end
  end
end
local more = (ARGV[6] ~= '' or replaced) and release_page(tonumber(ARGV[5])) or 0
return { more, duplicates, ready, instead }
