-- command: what nearly all files use of the caller and of the group. It is declared beside the head, so that a script
-- needn't look for it each time it makes a piece.
local ARGS, SESSION, CONNECTION, CHANNEL, SETTLING -- see caller
local now, now_us, now_text -- in ms, in µs
local touched -- what the command has used of its budget (R26)
local GROUP, ENDS, GAPS, QUEUE
local g -- the state: see layouts
-- The other fields as this command leaves them: a text, or what was read out of it (see records); false for none, nil
-- where it needn't be known yet.
local hash
local again, push_refused -- of the present call
local turn = 0 -- raised when all is written: a record that was set in this turn isn't
