-- call: what every call reads of a group.
--
-- From here to `groundwork` no function is made but `tell`: they cost a call most. A verb adds the fields of its items
-- to `wanted` (wants/), and all is read with one HMGET.
local gone -- sessions that turned out to be gone, each with the statements of what it had been granted: see pass_on
local anyone = false -- whether a session's former connection may call too
local wanted = { 'state', 'c' .. SESSION }
