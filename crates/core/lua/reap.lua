-- reap: removes ended leases, earliest first, within the budget (R9, R26). Answers how many.
local reap

piece(function()
  function reap()
    if g.leases == 0 then return 0 end
    if ended_at_once then flush() end
    if g.mend ~= '' or call('ZCOUNT', ENDS, '(0', '(inf') ~= leases_stored then
      mend()
      flush()
    end
    if many_new_ends == 0 and many_old_ends == 0 then
      local in_ms = next_end()
      if not in_ms or in_ms > 0 then return 0 end
    end
    local ended = call('ZRANGEBYSCORE', ENDS, '(0', now, 'LIMIT', 0, BUDGET + 1)
    local fields, reaped = {}, 0
    for i = 1, #ended do fields[i] = 'l' .. ended[i] end
    read(fields)
    for i = 1, #ended do
      if touched >= BUDGET then
        again = true
        break
      end
      local it = lease(fields[i])
      if not it then
        drop_end(ended[i], now_text)
      elseif tonumber(it.at_end) <= now then -- Otherwise this command has extended it.
        remove_lease(it)
        touched, reaped = touched + #slots_of(it.slots), reaped + 1
      end
    end
    return reaped
  end
end)
