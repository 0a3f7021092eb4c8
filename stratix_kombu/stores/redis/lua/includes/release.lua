-- What a step leaves to be gone on with stands in worklists.
-- The worklists: what each is of, and how a page of its first entry is done. They answer how much that was.
--   reviving, releasing  jobs that will run again or have ended, whose dependents do not know yet
--   seeking              jobs of which it is to be known whether they wait again
--   forgetting           edges of jobs that have gone
local worklists, of_worklists = { 'reviving', 'releasing', 'seeking', 'forgetting' }, {}
for i, list in ipairs(worklists) do
  of_worklists[i] = P .. ':' .. list
end

-- Do about so much of what was left; whether some is left.
local function release_page(limit)
  if redis.call('EXISTS', unpack(of_worklists)) == 0 then
    return 0
  end
  --- @include worklists
  while limit > 0 and redis.call('EXISTS', unpack(of_worklists)) > 0 do
    for i, list in ipairs(worklists) do
      local first = redis.call('ZRANGE', of_worklists[i], 0, 0)[1]
      if first then
        local done
        if i <= 2 then
          done = tell_dependents(list, first, limit)
        elseif list == 'seeking' then
          done = go_on_seeking(first)
        else
          done = go_on_forgetting(first, limit)
        end
        limit = limit - math.max(done, 1)
        break
      end
    end
  end
  return math.min(redis.call('EXISTS', unpack(of_worklists)), 1)
end
