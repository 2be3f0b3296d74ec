-- Each lease: id · length · n and its holder name, or nothing; then the number of waiters and their ids.
local number = tonumber(ARGV[FROM])
local waiters_at = FROM + 1 + 3 * number
local named = tonumber(ARGV[waiters_at])
for at = FROM + 1, waiters_at - 1, 3 do
  wanted[#wanted + 1] = 'l' .. ARGV[at]
  if ARGV[at + 2] ~= '' then wanted[#wanted + 1] = ARGV[at + 2] end
end
for i = 1, named do wanted[#wanted + 1] = 'l' .. ARGV[waiters_at + i] end
