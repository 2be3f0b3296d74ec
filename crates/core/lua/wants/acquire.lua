-- Each item: id · 1 if it waits, else 0 · terms.
local number = tonumber(ARGV[7])
for i = 1, number do wanted[NAMED + i] = 'l' .. ARGV[3 * i + 5] end
