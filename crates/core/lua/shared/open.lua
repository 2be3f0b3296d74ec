-- open: the caller, the same for all groups of a call.
--
-- KEYS  of each group: 1 group (hash)  2 ends  3 gaps  4 queue (sorted sets)
-- ARGV  1 session  2 connection number  3 flags: 1 listens + 2 settling + 4 cluster
--       4 keep-alive, ms  5 epoch for a new state  6 channel prefix  7… the verb's own: see alone, together
local SESSION, CONNECTION, FLAGS, KEEP_ALIVE = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local SETTLING = FLAGS % 4 >= 2
local RESERVE, SLACK, BUDGET, CHUNK, NAMED = 300000, 150000, 200, 2000, 2
local touched = 0 -- what the call has used of its budget
