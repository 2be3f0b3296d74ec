-- clock: Redis's time, read once (R7). now is in ms, now_us in µs.
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)
