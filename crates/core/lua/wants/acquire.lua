-- Each item: id · 1 if it waits, else 0 · terms.
local number = tonumber(ARGV[FROM])
for i = 1, number do wanted[NAMED + i] = 'l' .. ARGV[FROM + 3 * i - 2] end
