-- clock: Redis's time, read once a command (R7), in µs.
local function clock()
  local time = call('TIME')
  return time[1] * 1000000 + time[2]
end
