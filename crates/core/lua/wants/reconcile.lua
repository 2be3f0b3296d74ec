-- From which rank on own ids are looked for, or nothing; the number of items; each item: keep and seven more · want and
-- three more · drop and one more; the first of them is an id.
local own_from, number = tonumber(ARGV[FROM]), tonumber(ARGV[FROM + 1])
local lengths, place = { keep = 8, want = 4, drop = 2 }, FROM + 2
for i = 1, number do
  wanted[NAMED + i] = 'l' .. ARGV[place + 1]
  place = place + lengths[ARGV[place]]
end
