-- Each item: id.
local number = tonumber(ARGV[7])
for i = 1, number do wanted[NAMED + i] = 'l' .. ARGV[i + 7] end
