-- open: the caller, and what every call reads of the group.
--
-- KEYS  1 group (hash)  2 ends  3 gaps  4 queue (sorted sets)
-- ARGV  1 session  2 connection number  3 flags: 1 listens + 2 settling + 4 cluster
--       4 keep-alive, ms  5 epoch for a new state  6 channel prefix  7… the verb's own
--
-- From here to `groundwork` no function is made but `tell`: they cost a call most. A verb adds the fields of its items
-- to `wanted` (wants/), and all is read with one HMGET.
local GROUP, ENDS, GAPS, QUEUE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local SESSION, CONNECTION, FLAGS, KEEP_ALIVE = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local SETTLING = FLAGS % 4 >= 2
local RESERVE, SLACK, BUDGET, CHUNK = 300000, 150000, 200, 2000

local gone -- sessions that turned out to be gone, each with the statements of what it had been granted: see pass_on
local anyone = false -- whether a session's former connection may call too
local NAMED = 2
local wanted = { 'state', 'c' .. SESSION }
