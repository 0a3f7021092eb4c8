-- The scores of a queue's order, see place.lua.
local SPAN, MIDDLE = 2 ^ 44, 2 ^ 43
