-- Times: `now` in milliseconds, `now_us` in microseconds.
local P = KEYS[1]
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)
