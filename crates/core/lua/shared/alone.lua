-- alone: the call is for one group. FROM is the place of the verb's first argument.
local FROM, GROUP, ENDS, GAPS, QUEUE = 7, KEYS[1], KEYS[2], KEYS[3], KEYS[4]
