-- Whether a new edge would close a cycle.
-- The jobs that `id` waits for, and those that wait for it; nil where it has more than `most` edges.
local function waits_for(id, most)
  local key = job_key(id) .. ':dependencies'
  if redis.call('HLEN', key) > most then
    return nil
  end
  local edges, found = redis.call('HGETALL', key), {}
  for i = 1, #edges, 2 do
    local number, state = read_edge(edges[i + 1])
    if state == '' and place_of(edges[i], number) == edges[i] then
      found[#found + 1] = edges[i]
    end
  end
  return found, #edges / 2
end

local function waited_for_by(id, most)
  local found = redis.call('ZRANGEBYSCORE', job_key(id) .. ':dependents', 0, 0, 'LIMIT', 0, most + 1)
  return #found <= most and found or nil, #found
end

-- Whether a way leads from one of the jobs to one of the others, a set; nil where more than `most` edges would have to be
-- looked at to know.
local function leads(from, to, most, neighbours)
  local seen, pending = {}, { unpack(from) }
  while #pending > 0 do
    local current = table.remove(pending)
    if to[current] then
      return true
    end
    if not seen[current] then
      seen[current] = true
      local found, count = neighbours(current, most)
      if not found then
        return nil
      end
      most = most - count - 1
      for _, one in ipairs(found) do
        pending[#pending + 1] = one
      end
    end
  end
  return false
end

-- From both ends: one of the two is small as a rule.
local function closes_cycle(id, dependencies)
  local ends = {}
  for _, one in ipairs(dependencies) do
    ends[one] = true
  end
  local closes = leads({ id }, ends, 250, waited_for_by)
  if closes == nil then
    closes = leads(dependencies, { [id] = true }, 250, waits_for)
  end
  return closes
end
