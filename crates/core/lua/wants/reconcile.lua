-- Each item: keep and six more · want and three more · drop and one more; the first of them is an id.
local number = tonumber(ARGV[FROM])
local lengths, place = { keep = 7, want = 4, drop = 2 }, FROM + 1
for i = 1, number do
  wanted[NAMED + i] = 'l' .. ARGV[place + 1]
  place = place + lengths[ARGV[place]]
end
