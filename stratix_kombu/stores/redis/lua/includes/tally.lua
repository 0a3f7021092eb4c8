-- Counting what every job does: scripts tally, and write once at their end. See count.lua for where.
--- @include count

local MS_WAITED, MS_RUN = '#3', '#4'
local WAITS, OTHERS = 0, 1
local NAMES_KEPT = 100
local BOUNDS_MS = { 10, 50, 100, 500, 1000, 5000, 10000 }
local tallies = {}

local function tally_of(queue)
  local tally = tallies[queue]
  if not tally then
    tally = { counts = {}, buckets = {}, ms = {}, places = {}, names = {} }
    tallies[queue] = tally
  end
  return tally
end

local function add_to(counts, key, value)
  counts[key] = (counts[key] or 0) + value
end

local function tally_count(queue, what)
  add_to(tally_of(queue).counts, what, 1)
end

-- `kind` is 0 for waits, 1 for runs; `sum` where the milliseconds are added.
local function count_time(tally, kind, sum, ms)
  local bucket = ms
  if ms >= 8 then
    local part, exponent = math.frexp(math.min(ms, 2147483647))
    bucket = (exponent - 3) * 8 + math.floor(part * 16) - 8
  end
  add_to(tally.buckets, 10 + 2 * bucket + kind, 1)
  add_to(tally.ms, sum, ms)
end

local function distribute(tally, place, ms)
  local class = 1
  while class <= #BOUNDS_MS and ms > BOUNDS_MS[class] do
    class = class + 1
  end
  local first = 7 + 9 * place
  add_to(tally.places, first + class, 1)
  add_to(tally.places, first + 9, ms)
end

-- Where the runs of jobs of a name are kept.
local function place_of(tally, queue, name)
  local place = tally.names[name]
  if not place then
    local key = queue_key(queue, 'names')
    place = tonumber(redis.call('HGET', key, name))
    if not place then
      local known = redis.call('HLEN', key)
      place = OTHERS
      if known < NAMES_KEPT then
        place = OTHERS + 1 + known
        redis.call('HSET', key, name, place)
      end
    end
    tally.names[name] = place
  end
  return place
end

-- An attempt ends that began at `started`, after the job had waited so long; `name` that of the job if it has completed.
local function tally_attempt(queue, started, waited, name)
  local tally = tally_of(queue)
  count_time(tally, 0, MS_WAITED, waited)
  distribute(tally, WAITS, waited)
  local ran = math.max(now - started, 0)
  count_time(tally, 1, MS_RUN, ran)
  if name then
    distribute(tally, place_of(tally, queue, name), ran)
  end
end

-- Making a text of a number costs as much as adding it, so there is as little of that as can be.
local function increments(into, kind, values)
  local n = #into
  for slot, value in pairs(values) do
    into[n + 1], into[n + 2] = 'INCRBY', kind
    into[n + 3] = type(slot) == 'string' and slot or string.format('#%d', slot)
    into[n + 4] = value == 1 and '1' or string.format('%d', value)
    n = n + 4
  end
  return into
end

local function write_tallies()
  for queue, one in pairs(tallies) do
    local of_minute = increments({}, 'u32', one.counts)
    increments(increments(of_minute, 'u32', one.buckets), 'i64', one.ms)
    write_counts(queue, of_minute, increments(increments({}, 'i64', one.counts), 'i64', one.places))
  end
end
