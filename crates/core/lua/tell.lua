-- tell: one publication. Answers how many received it, or nil when Redis refuses it (R22).
local function tell(channel, session, payload)
  local heard = try('PUBLISH', channel .. session, payload)
  if type(heard) == 'table' then return nil end
  return heard
end
