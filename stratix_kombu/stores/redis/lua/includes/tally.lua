-- Counting what every job does. Scripts note it in '<queue>:noted', an entry for each of their runs, since counting takes
-- longer than all else that is done to a job. What is noted is counted together: when there is enough of it, and before
-- counts are read, see fold.lua. An entry is {minute, {how often by what is counted}, then for each attempt that has ended:
-- ms waited, ms run, name of the job if it has completed, else {name}}.
--- @include count
--- @include enough

local notes, numbers = {}, {}

local function note_of(queue)
  local note = notes[queue]
  if not note then
    note = { math.floor(now / 60000), {} }
    notes[queue] = note
  end
  return note
end

local function tally_count(queue, what)
  local counts = note_of(queue)[2]
  counts[what] = (counts[what] or 0) + 1
end

-- Most of the jobs of a step have instants in common.
local function number_of(text)
  local number = numbers[text or '']
  if number == nil then
    number = num(text) or false
    numbers[text or ''] = number
  end
  return number
end

-- An attempt ends that began at `started`, of a job that had been waiting `since` then, as its record says; `failed`: it has
-- not completed.
local function tally_attempt(queue, started, since, name, failed)
  local note = note_of(queue)
  local n = #note
  started = number_of(started) or now
  note[n + 1], note[n + 2] = math.max(started - (number_of(since) or started), 0), math.max(now - started, 0)
  note[n + 3] = failed and { name } or name or false
end

local function write_tallies()
  for queue, note in pairs(notes) do
    local entries = redis.call('RPUSH', queue_key(queue, 'noted'), cmsgpack.pack(note))
    if entries >= ENTRIES or entries * #note >= 3 * ATTEMPTS then
      --- @include fold
      fold(queue)
    end
  end
end
