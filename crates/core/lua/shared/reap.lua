-- reap: removes ended leases, earliest first, within the budget (R9, R26). Answers how many.
local function reap()
  if g.leases == 0 then return 0 end
  if ends_changed then flush() end
  if g.mend ~= '' or redis.call('ZCOUNT', ENDS, '(0', '(inf') ~= g.leases then
    mend()
    flush()
  end
  local ended = redis.call('ZRANGEBYSCORE', ENDS, '(0', now, 'LIMIT', 0, BUDGET + 1)
  local fields, reaped = {}, 0
  for i = 1, #ended do fields[i] = 'l' .. ended[i] end
  read(fields)
  for i = 1, #ended do
    if touched >= BUDGET then
      again = true
      break
    end
    local it = lease(ended[i])
    if it then
      remove_lease(ended[i], it)
      touched, reaped = touched + #it.slots, reaped + 1
    else
      set_end(ended[i], false)
    end
  end
  return reaped
end
