-- Remove finished jobs that are older than their retention allows.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] page
-- Returns {more, {}, ready, -1, removed ids}
-- Events those of release.lua
--- @again
--- @include base
--- @include send
--- @include moves
--- @include removal
--- @include release

local page = tonumber(ARGV[4])
local due = redis.call('ZRANGEBYSCORE', P .. ':expiring', '-inf', now, 'LIMIT', 0, page, 'WITHSCORES')
local removed = {}
for i = 1, #due, 2 do
  local id = due[i]
  redis.call('ZREM', P .. ':expiring', id)
  local job = load(id)
  -- An entry that is left of an earlier job of the id, or of an earlier end of the job, says nothing of this end.
  local age = job and finished(job.state) and age_of(job) or ''
  if age ~= '' and job.finished_ms + tonumber(age) == tonumber(due[i + 1]) then
    retire(job)
    removed[#removed + 1] = id
  end
end
local more = release_page(page)
return { #due == 2 * page and 1 or more, {}, sent(), -1, removed }
