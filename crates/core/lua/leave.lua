-- leave: take waiters out of the line, in one step that says who had just been granted; then hand off (R17, R23).
--
-- ARGV   number of items, then their ids
-- ANSWER left · granted STATEMENT
-- ADDS   slots held · requests in line · time to the earliest end, ms, or −1: all before anybody left
local held, in_line, in_ms = g.held, waiting, next_end()
local answers = {}
for i = 1, number do
  local id = ARGV[FROM + i]
  local it = lease(id)
  if not it then crowd().leave(id) end
  answers[i] = it and 'granted ' .. statement(id, it) or 'left'
end
if waiting > 0 then
  local refused = flush() or begin()
  if refused then return refused end
  crowd().hand_off()
end
return close(answers, false, { held, in_line, in_ms or -1 })
