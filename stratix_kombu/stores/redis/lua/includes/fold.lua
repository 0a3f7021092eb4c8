-- Counting what tally.lua has noted. See count.lua for where.
--- @include count

local MS_WAITED, MS_RUN = '#3', '#4'
local WAITS, OTHERS = 0, 1
local NAMES_KEPT, OTHER = 100, '(other)'
local BOUNDS_MS = { 10, 50, 100, 500, 1000, 5000, 10000 }

local function add_to(counts, key, value)
  counts[key] = (counts[key] or 0) + value
end

-- Where the runs of jobs of a name are kept.
local function place_of_name(queue, name)
  local key = queue_key(queue, 'names')
  local place = tonumber(redis.call('HGET', key, name))
  if place then
    return place
  end
  local known = redis.call('HLEN', key)
  if known >= NAMES_KEPT then
    return OTHERS
  end
  place = OTHERS + 1 + known
  redis.call('HSET', key, name, place)
  return place
end

-- By which number the hours of jobs of a name are kept. A queue that was forgotten and comes again has others.
local function number_of_name(queue, name)
  local key = queue_key(queue, 'named')
  local number = redis.call('HGET', key, name)
  if not number and redis.call('HLEN', key) >= NAMES_KEPT then
    name = OTHER
    number = redis.call('HGET', key, name)
  end
  if not number then
    number = redis.call('INCR', P .. ':named')
    redis.call('HSET', key, name, number)
  end
  return number
end

-- `times` says of each number of ms how often it was. `kind` is 0 for waits, 1 for runs. Answers all ms.
local function add_to_buckets(buckets, kind, times)
  local sum = 0
  for ms, count in pairs(times) do
    local bucket = ms
    if ms >= 8 then
      local part, exponent = math.frexp(math.min(ms, 2147483647))
      bucket = (exponent - 3) * 8 + math.floor(part * 16) - 8
    end
    add_to(buckets, 10 + 2 * bucket + kind, count)
    sum = sum + ms * count
  end
  return sum
end

local function add_to_place(places, place, times)
  local first = 7 + 9 * place
  for ms, count in pairs(times) do
    local class = 1
    while class <= #BOUNDS_MS and ms > BOUNDS_MS[class] do
      class = class + 1
    end
    add_to(places, first + class, count)
    add_to(places, first + 9, ms * count)
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

local function add_to_name(tally, name, failed, waited, ran)
  local one = tally.names[name]
  if not one then
    one = { name = name, ends = {}, waits = {}, runs = {} }
    tally.names[name], tally.names[#tally.names + 1] = one, one -- as many as are kept are the first ones
  end
  add_to(one.ends, failed and FAILED or COMPLETED, 1)
  add_to(one.waits, waited, 1)
  add_to(one.runs, ran, 1)
end

local function add_note(tally, note)
  for what, count in pairs(note[2]) do
    add_to(tally.counts, what, count)
  end
  for i = 3, #note, 3 do
    add_to(tally.waits, note[i], 1)
    local name, failed = note[i + 2], type(note[i + 2]) == 'table' and note[i + 2][1]
    if name then
      add_to_name(tally, failed or name, failed, note[i], note[i + 1])
    end
    name = not failed and name
    local runs = tally.runs[name]
    if not runs then
      runs = {}
      tally.runs[name] = runs
    end
    add_to(runs, note[i + 1], 1)
  end
end

local function write_tally(queue, minute, tally)
  local buckets, ms, places = {}, {}, {}
  ms[MS_WAITED] = add_to_buckets(buckets, 0, tally.waits)
  add_to_place(places, WAITS, tally.waits)
  for _, times in pairs(tally.runs) do
    add_to(ms, MS_RUN, add_to_buckets(buckets, 1, times))
  end
  for _, one in ipairs(tally.names) do
    if tally.runs[one.name] then
      add_to_place(places, place_of_name(queue, one.name), tally.runs[one.name])
    end
  end
  local of_minute = increments(increments({}, 'u32', tally.counts), 'u32', buckets)
  local of_all = increments(increments({}, 'i64', tally.counts), 'i64', places)
  write_counts(queue, minute, increments(of_minute, 'i64', ms), of_all)
end

-- The hours of jobs of each name.
local function write_names(queue, hour, names)
  for _, one in ipairs(names) do
    local buckets, ms = {}, {}
    ms[MS_WAITED] = add_to_buckets(buckets, 0, one.waits)
    ms[MS_RUN] = add_to_buckets(buckets, 1, one.runs)
    local counts = increments(increments(increments({}, 'u32', one.ends), 'u32', buckets), 'i64', ms)
    write_to(hour_key(queue, hour, number_of_name(queue, one.name)), NAMED_HOURS * 3600, counts)
  end
end

local function fold(queue)
  local key, tallies = queue_key(queue, 'noted'), {}
  local entries = redis.call('LRANGE', key, 0, -1)
  if not entries[1] then
    return
  end
  redis.call('DEL', key)
  for _, entry in ipairs(entries) do
    local is_packed, note = pcall(cmsgpack.unpack, entry)
    local minute = is_packed and type(note) == 'table' and type(note[2]) == 'table' and num(note[1])
    if minute then
      tallies[minute] = tallies[minute] or { counts = {}, waits = {}, runs = {}, names = {} }
      add_note(tallies[minute], note)
    end
  end
  for minute, tally in pairs(tallies) do
    write_tally(queue, minute, tally)
    write_names(queue, math.floor(minute / 60), tally.names)
  end
end
