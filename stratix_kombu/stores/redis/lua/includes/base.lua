-- What every script knows: KEYS[1] is '{namespace}'; all keys begin with it, so they share one hash slot.
-- Times: `now` in milliseconds; scores of sets that keep an order are in microseconds, made unique by order().
local P = KEYS[1]
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)
local ticks = 0

local function order()
  ticks = ticks + 1
  return now_us + ticks
end

local function job_key(id)
  return P .. ':job:' .. id
end

local function queue_key(queue, part)
  return P .. ':q:' .. queue .. ':' .. part
end

-- A longer value is left out of an event (INLINE_RESULT_BYTES).
local INLINE_BYTES = 4096

-- One entry of the queue's log. Events beyond ten thousand are dropped, a node of the stream at a time.
local function tell(queue, event, id, name, value)
  local key = queue_key(queue, 'events')
  if not id then
    redis.call('XADD', key, 'MAXLEN', '~', 10000, '*', 'e', event, 'v', value or '')
  elseif value and #value <= INLINE_BYTES then
    redis.call('XADD', key, 'MAXLEN', '~', 10000, '*', 'e', event, 'i', id, 'n', name, 'v', value)
  else
    redis.call('XADD', key, 'MAXLEN', '~', 10000, '*', 'e', event, 'i', id, 'n', name)
  end
end
