-- Add jobs, all or none.
-- KEYS[1] '{namespace}'
-- ARGV[1..3] see send.lua; ARGV[4] queue; ARGV[5] page for releases; ARGV[6] ids to be known first, JSON list of
--   {job, dependency} or ''; then per job: id, name, data, options, extra
-- Returns {more, duplicate ids, ready, instead, now, number of the first job, placed} or {'unknown dependency', job,
--   dependency}, {'taken', job, queue}. The jobs' numbers follow each other; `placed` is place in this call, {state,
--   ...} (see add_job.lua) or '', of those that were not added under their number to wait
-- Events waiting | delayed | blocked | failed | duplicated
--- @include usual
--- @include base
--- @include send
--- @include add_plain

-- Jobs of groups, and those that bring a message, with the functions for them, and without the many for the rest.
local plain = not usual and ARGV[6] == '' and jobs <= 1000
keys, extras = {}, {}
for i = 7, plain and #ARGV or 0, 5 do
  local key, more = job_key(ARGV[i]), ARGV[i + 4] ~= '' and cjson.decode(ARGV[i + 4]) or {}
  plain = plain and is_plain(more) and not extras[key]
  extras[key] = more
  keys[#keys + 1] = key
  keys[#keys + 1] = key .. ':dependents'
end
if plain and redis.call('EXISTS', unpack(keys)) == 0 then
  local number = redis.call('INCRBY', P .. ':number', jobs) - jobs
  for n = 1, jobs do
    local i, more = 2 + 5 * n, extras[keys[2 * n - 1]]
    add_plain(more.queue or ARGV[4], ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], more, number + n)
  end
  return { 0, {}, sent(), {}, now, number + 1, {} }
end

--- @include release
--- @include add_job

if ARGV[6] ~= '' then
  for _, edge in ipairs(cjson.decode(ARGV[6])) do
    if redis.call('EXISTS', job_key(edge[1])) == 0 and redis.call('EXISTS', job_key(edge[2])) == 0 then
      return { 'unknown dependency', edge[1], edge[2] }
    end
  end
end

-- One question for many ids: most are new. Nothing is written before it is known of all.
for first = 7, #ARGV, 5000 do
  local keys = {}
  for i = first, math.min(first + 4999, #ARGV), 5 do
    keys[#keys + 1] = job_key(ARGV[i])
    keys[#keys + 1] = job_key(ARGV[i]) .. ':dependents'
  end
  local known = redis.call('EXISTS', unpack(keys)) > 0
  for i = first, math.min(first + 4999, #ARGV), 5 do
    local queue = known and redis.call('HGET', job_key(ARGV[i]), F.queue)
    if queue then
      local more = ARGV[i + 4] ~= '' and cjson.decode(ARGV[i + 4]) or {}
      local there = load(ARGV[i])
      local gives_way = is_vacant(there) or more.anew and there and finished(there.state)
      if queue ~= (more.queue or ARGV[4]) and not more.vacant and not gives_way then
        return { 'taken', ARGV[i], queue }
      end
    end
    unused[ARGV[i]] = not known
  end
end

local number = redis.call('INCRBY', P .. ':number', jobs) - jobs + 1
local duplicates, placed = {}, {}
for i = 7, #ARGV, 5 do
  local one = add_job(ARGV[4], ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], number + (i - 7) / 5)
  if not one then
    duplicates[#duplicates + 1] = ARGV[i]
  end
  if one ~= true then
    placed[#placed + 1] = (i - 7) / 5
    placed[#placed + 1] = one or ''
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
return { more, duplicates, sent(), instead, now, number, placed }
