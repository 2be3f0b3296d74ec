-- clean: reap now, whoever asks, and hand off; goes on with mending (R9, R17).
--
-- ANSWER how many leases were reaped
verbs.clean = { anyone = true, writes = true, fields = function(at) return at end, carry_out = function()
  local reaped = reap()
  hand_off()
  return reply(num(reaped), false)
end }
