-- Due delayed jobs of all queues become waiting.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] page
-- Returns {more, {}, ready, ms until the next one is due or -1}
-- Events waiting; those of release.lua
--- @include base
--- @include send
--- @include moves
--- @include release

local left, next_ms = tonumber(ARGV[4]), -1
for _, queue in ipairs(redis.call('SMEMBERS', P .. ':queues')) do
  local key = queue_key(queue, 'delayed')
  if left > 0 then
    local due = redis.call('ZRANGEBYSCORE', key, '-inf', now * 1000 + 999, 'LIMIT', 0, left)
    for _, id in ipairs(due) do
      local job = load(id)
      if job.vacant then
        unblock(job)
      else
        make_waiting(job)
      end
    end
    left = left - #due
  end
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[2] then
    local wait = math.max(math.floor(tonumber(first[2]) / 1000) - now, 0)
    if next_ms < 0 or wait < next_ms then
      next_ms = wait
    end
  end
end
local more = release_page(tonumber(ARGV[4]))
return { (left <= 0 and next_ms == 0) and 1 or more, {}, ready, next_ms }
