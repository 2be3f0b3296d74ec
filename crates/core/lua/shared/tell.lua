-- tell: one publication. Answers how many received it, or nil when Redis refuses it (R22).
local function tell(session, payload)
  local heard = redis.pcall('PUBLISH', ARGV[6] .. session, payload)
  if type(heard) == 'table' then return nil end
  return heard
end
