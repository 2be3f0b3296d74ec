-- The ids of the items.
local number = tonumber(ARGV[FROM])
for i = 1, number do wanted[NAMED + i] = 'l' .. ARGV[FROM + i] end
