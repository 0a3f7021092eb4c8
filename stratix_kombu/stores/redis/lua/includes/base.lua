-- What every script knows: KEYS[1] is '{namespace}'; all keys begin with it, so they share one hash slot.
-- F: what the table of fields calls a field of a job in its hash; E: what one of an event is called in its entry; R: where
-- the parts of a message that is to be sent stand in an answer. They are put in when a script is loaded.
-- Scores of sets that keep an order are in microseconds, made unique by order().
--- @include clock
local ticks = 0

local function order()
  ticks = ticks + 1
  return now_us + ticks
end

local function job_key(id)
  return P .. ':job:' .. id
end

-- What is left of a job whose id was given to another one is kept under a name of its own: a line break, its number, a
-- colon, its id. No id has a line break in it.
local function incarnation(id, number)
  return string.format('\n%.0f:%s', number, id)
end

local function id_of(name)
  return string.match(name, '^\n%d+:(.*)$') or name
end

local function queue_key(queue, part)
  return P .. ':q:' .. queue .. ':' .. part
end

-- A number that was read, or the default if there is none.
local function num(text, otherwise)
  local value = tonumber(text)
  return value and math.abs(value) < 2 ^ 53 and value or otherwise
end

-- Fields of a record. All are missing if it is, and if something of another type is in its place.
local function read(id, ...)
  local found = redis.pcall('HMGET', job_key(id), ...)
  return found.err and {} or found
end

-- Count in a field of a record; what is no number there counts as 0.
local function bump(id, field, by)
  local value = redis.pcall('HINCRBY', job_key(id), field, by)
  if type(value) == 'number' then
    return value
  end
  redis.call('HSET', job_key(id), field, by)
  return by
end

-- What JSON says if it is an object or a list, else nil.
local function decoded(text)
  local is_json, value = pcall(cjson.decode, text or '')
  return is_json and type(value) == 'table' and value or nil
end

-- A longer value is left out of an event (INLINE_RESULT_BYTES).
local INLINE_BYTES = 4096

-- One entry of the queue's log. Events beyond ten thousand are dropped, a node of the stream at a time.
local logs = {}

local function tell(queue, event, id, name, value)
  local key = logs[queue]
  if not key then
    key = queue_key(queue, 'events')
    logs[queue] = key
  end
  if not id then
    redis.call('XADD', key, 'MAXLEN', '~', '10000', '*', E.name, event, E.value, value or '')
  elseif value and #value <= INLINE_BYTES then
    redis.call('XADD', key, 'MAXLEN', '~', '10000', '*', E.name, event, E.job_id, id, E.job_name, name,
      E.value, value)
  else
    redis.call('XADD', key, 'MAXLEN', '~', '10000', '*', E.name, event, E.job_id, id, E.job_name, name)
  end
end
