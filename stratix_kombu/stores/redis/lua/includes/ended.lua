-- A record keeps how and with which token its last attempt was ended: one that has completed keeps its token, others say it
-- in `ended`, as what is kept of a record that retention removes does (see retire), and as completed ones of earlier releases
-- do. A request that is repeated because its answer was lost is answered with it. An end by hand ('*', '-') is nobody's.
local COMPLETE, FAIL, HAND_OVER, HAND_BACK = 'c:', 'f:', 'o:', 'b:'
local any_by_hand = false

local function mark_of(way, token)
  local by_hand = token == '*' or token == '-'
  any_by_hand = any_by_hand or by_hand
  return by_hand and '' or way .. token
end

local function was_ended(id, mark, state, token, known)
  if state ~= 'active' and (token or '') ~= '' then
    known = COMPLETE .. token
  end
  if mark == '' or known == mark then
    return mark ~= ''
  end
  local kept = redis.call('GET', P .. ':ended:' .. id)
  return kept and string.match(kept, '^%l+:%d+:([^\n]*)\n') == mark
end

-- Whether the step answers the same when it is made again (see once.lua).
local function same_anyway(more)
  return more == 0 and #ready == 0 and not any_by_hand
end
