-- together: one call for several groups, each carried out as if it were alone, but on one budget.
--
-- ARGV   of each group: how many arguments the verb has for it, then they
-- REPLY  a list, for each group what it would have answered alone · failed and why: then nothing is known of that group
local function carry_out(FROM, GROUP, ENDS, GAPS, QUEUE)
