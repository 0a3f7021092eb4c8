-- A record keeps in `ended` how and with which token its last attempt was ended: whoever asks again, since the answer was
-- lost, is told that it was.
local COMPLETE, FAIL, HAND_OVER, HAND_BACK = 'c:', 'f:', 'o:', 'b:'
