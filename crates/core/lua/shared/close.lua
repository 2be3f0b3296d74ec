-- close: writes what is left and builds the reply (R9, R17, R22).
--
-- REPLY  one text, a space between: ok · now in ms · epoch, or - without state · time to the earliest end in ms, or −1
--        · 1 again + 2 push refused · number of grants to the caller's own waiters, and they · answers · what the verb adds
local function close(answers, says_next_end, adds)
  local refused = flush()
  if refused then return refused end
  local in_ms = says_next_end and waiting_of(SESSION) > 0 and next_end() or nil
  local flags = (again and 1 or 0) + (push_refused and 2 or 0)
  local said = { string.format('ok %d %s %d %d %d', now, g.epoch or '-', in_ms or -1, flags, #handed) }
  for i = 1, #handed do said[i + 1] = handed[i][2] end
  for _, more in ipairs({ answers, adds }) do
    for i = 1, #more do said[#said + 1] = more[i] end
  end
  return table.concat(said, ' ')
end
