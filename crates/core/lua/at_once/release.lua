-- at once: nobody waits, the targets are ids, their leases have one slot and no name. What `release` and its pieces do
-- in such a call comes to this; whatever isn't as plain as that is left to them, with nothing written.
local plain = epoch and waiting == 0 and not line_lost and mend == '' and number <= BUDGET
if plain then
  -- Tables that are made with room for one item don't grow in a lone call.
  local fields, ids, slots, answers, seen, released = { '', '' }, { '' }, { '' }, { '' }, number > 1 and {}, 0
  for i = 1, number do
    local field, record, slot = wanted[NAMED + i], got[NAMED + i], nil
    if string.byte(field) ~= 108 then plain = false break end
    if record and not (seen and seen[field]) then
      slot = string.match(record, '^H %d+ %d+ %d+ (%d+) %-1 ')
      if not slot then plain = false break end
      if seen then seen[field] = true end
      released = released + 1
      fields[2 * released - 1], fields[2 * released] = 's' .. slot, field
      ids[released], slots[released] = string.sub(field, 2), slot
    end
    answers[i] = slot and '1' or '0'
  end
  local gaps, highest = nil, top
  if released == held then
    plain, highest = plain and top == held, 0
  else
    for i = released, 1, -1 do
      if tonumber(slots[i]) == highest then
        highest = highest - 1
      else
        gaps = gaps or {}
        gaps[#gaps + 1] = slots[i]
        gaps[#gaps + 1] = slots[i]
      end
    end
    plain = plain and (not gaps or string.find(made, 'g', 1, true))
  end
  -- A first write that is refused has written nothing either.
  if plain and (released == 0 or type(redis.pcall('ZREM', ENDS, unpack(ids))) == 'number') then
    if released > 0 then redis.call('HDEL', GROUP, unpack(fields)) end
    if gaps then
      gaps[#gaps + 1], gaps[#gaps + 2] = 'inf', '.'
      if redis.call('ZADD', GAPS, unpack(gaps)) == #gaps / 2 then redis.call('PEXPIREAT', GAPS, expire) end
    end
    if released > 0 then
      evenly = evenly and highest == held - released
      held = string.format('%d', held - released)
      leases, top = evenly and held or leases - released, evenly and held or highest
      redis.call('HSET', GROUP, 'state', '1 ' .. epoch .. ' ' .. held .. ' ' .. leases .. ' ' .. top .. ' ' .. limit_seen
        .. ' ' .. token .. ' ' .. latest_end .. ' ' .. expire .. ' ' .. made .. '- - ' .. gen .. ' ' .. ticket)
    end
    return string.format('ok %d ', now) .. epoch .. ' -1 0 0 ' .. table.concat(answers, ' ')
  end
end
