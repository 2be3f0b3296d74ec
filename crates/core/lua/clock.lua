-- clock: Redis's time in µs, read once a command (R7), and its text, where that is the two of the reply joined.
local second, second_us -- when the clock was read last, and what that is in µs

local function clock()
  local time = call('TIME')
  if time[1] ~= second then second, second_us = time[1], time[1] * 1000000 end
  return second_us + time[2], #time[2] == 6 and second .. time[2]
end
