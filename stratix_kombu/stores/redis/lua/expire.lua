-- Remove finished jobs that are older than their retention allows.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] page
-- Returns {more, {}, {}, -1, removed ids}
--- @include base
--- @include send
--- @include moves

local page = tonumber(ARGV[4])
local due = redis.call('ZRANGEBYSCORE', P .. ':expiring', '-inf', now, 'LIMIT', 0, page, 'WITHSCORES')
local removed = {}
for i = 1, #due, 2 do
  local id = due[i]
  redis.call('ZREM', P .. ':expiring', id)
  local job = load(id)
  -- An entry that is left of an earlier job of the id, or of an earlier end of the job, says nothing of this end.
  local age = job and finished(job.state) and age_of(job) or ''
  if age ~= '' and job.finished + tonumber(age) == tonumber(due[i + 1]) then
    retire(job)
    removed[#removed + 1] = id
  end
end
return { #due == 2 * page and 1 or 0, {}, {}, -1, removed }
