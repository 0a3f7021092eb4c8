-- Due delayed jobs of all queues become waiting, vacant ones end; queues that open are sent what is owed to them.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] page
-- Returns {more, {}, ready, ms until the next one is due or -1}
-- Events waiting | removed; those of release.lua
--- @again
--- @include base
--- @include send
--- @include moves
--- @include first
--- @include removal
--- @include release

--- @include despite_full
local page = tonumber(ARGV[4])
local left, looks = page, page
local queue, at = first_queue('delayed')
local opened, opens = first_queue('opens')
while opened and opens <= now and looks > 0 do
  --- @include reopen
  reopen(opened, page)
  looks = looks - 1
  opened, opens = first_queue('opens')
end
local known -- when the first one is due, for certain
while queue and left > 0 and looks > 0 and not known do
  if at <= now then
    local due = redis.call('ZRANGEBYSCORE', queue_key(queue, 'delayed'), '-inf', now * 1000 + 999, 'LIMIT', 0, left)
    for _, id in ipairs(due) do
      local job = listed(queue_key(queue, 'delayed'), id, queue)
      if job and job.vacant and job.kind == 'by hand' then
        delete_by_hand(job)
        tell(job.queue, 'removed', job.id, job.name)
      elseif job and job.vacant then
        unblock(job)
      elseif job then
        make_waiting(job)
      end
    end
    left = left - #due
  end
  looks = looks - 1
  if look_again(queue, 'delayed') == at and at > now then
    known = at
  end
  queue, at = first_queue('delayed')
end
local next_ms = queue and math.max(at - now, 0) or -1
if opened then
  next_ms = math.max(queue and math.min(next_ms, opens - now) or opens - now, 0)
end
local more = release_page(page)
return { next_ms == 0 and 1 or more, {}, sent(), next_ms }
