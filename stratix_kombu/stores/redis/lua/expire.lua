-- Remove finished jobs that are older than their retention allows.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] page
-- Returns {more, {}, {}, -1, removed ids}
--- @include base
--- @include send
--- @include moves

local page = tonumber(ARGV[4])
local due = redis.call('ZRANGEBYSCORE', P .. ':expiring', '-inf', now, 'LIMIT', 0, page)
local removed = {}
for _, id in ipairs(due) do
  redis.call('ZREM', P .. ':expiring', id)
  local job = load(id)
  if job and finished(job.state) then
    delete(job)
    removed[#removed + 1] = id
  end
end
return { #due == page and 1 or 0, {}, {}, -1, removed }
