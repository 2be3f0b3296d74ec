-- release: give back, then hand off; nothing is reaped (R13, R17, R25).
--
-- ARGV   number of items, then for each: i and a lease id, or n and a holder name
-- ANSWER 1 released · 0 gone
local answers = {}
-- What was passed on to sessions that turned out to be gone is taken back, the last one first.
for i = 1, gone and #gone or 0 do
  lose(gone[i].owner)
  for j = #gone[i], 1, -1 do
    local id = string.match(gone[i][j], '^%S+')
    remove_lease(id, lease(id))
  end
end
for i = 1, gone and number or 0 do answers[i] = 1 end
for i = #answers + 1, number do
  local target = ARGV[FROM + i]
  local id = string.sub(target, 2)
  if string.byte(target) == 110 then id = owner_of(id) end
  local it = id and lease(id)
  if it then remove_lease(id, it) end
  answers[i] = it and 1 or 0
end
if waiting > 0 then
  local refused = begin()
  if refused then return refused end
  crowd().hand_off()
end
return close(answers, false)
