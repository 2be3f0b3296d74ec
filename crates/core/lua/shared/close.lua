-- close: writes what is left and builds the reply (R9, R17, R22).
--
-- REPLY  a head: ok, now in ms, epoch or - without state, time to the earliest end in ms or −1, 1 again + 2 push refused
--        · grants to the caller's own waiters · answers · what the verb adds
local function close(answers, says_next_end, ...)
  local refused = flush()
  if refused then return refused end
  local in_ms = says_next_end and waiting_of(SESSION) > 0 and next_end() or nil
  local statements = {}
  for i = 1, #handed do statements[i] = handed[i][2] end
  local flags = (again and 1 or 0) + (push_refused and 2 or 0)
  return { string.format('ok %.0f %s %.0f %d', now, g.epoch or '-', in_ms or -1, flags), statements, answers, ... }
end
