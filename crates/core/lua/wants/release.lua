-- Each item: i and a lease id, or n and a holder name.
local number = tonumber(ARGV[FROM])
for i = 1, number do
  local target = ARGV[FROM + i]
  wanted[NAMED + i] = (string.byte(target) == 105 and 'l' or 'n') .. string.sub(target, 2)
end
