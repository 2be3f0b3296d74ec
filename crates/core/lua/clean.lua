-- clean: reap now, whoever asks, and hand off; goes on with mending (R9, R17).
--
-- ANSWER how many leases were reaped
local refused = begin()
if refused then return refused end
local reaped = crowd().reap()
crowd().hand_off()
return close({ reaped }, false)
