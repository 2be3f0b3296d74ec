-- at once: nobody waits, and all the leases are there. What `renew` and its pieces do in such a call comes to this;
-- whatever isn't as plain as that is left to them, with nothing written.
if epoch and waiting == 0 and not line_lost and mend == '' and named == 0 and number > 0 and number <= BUDGET then
  local fields, ends, answers, place = { 'state', '' }, {}, {}, NAMED
  local latest, plain = tonumber(latest_end), string.find(made, 'e', 1, true)
  for i = 1, number do
    local id, length, name = ARGV[FROM + 3 * i - 2], ARGV[FROM + 3 * i - 1], ARGV[FROM + 3 * i]
    local rest = string.match(got[place + 1] or '', '^H %d+( .*)$')
    if not rest then plain = false break end
    local at_end = string.format('%d', now + length)
    fields[2 * i + 1], fields[2 * i + 2] = wanted[place + 1], 'H ' .. at_end .. rest
    ends[2 * i - 1], ends[2 * i] = at_end, id
    answers[i] = now + length
    latest = math.max(latest, now + length)
    place = place + (name == '' and 1 or 2)
  end
  -- A full memory doesn't refuse the first write, nor what comes after it (R25).
  if plain and latest + RESERVE <= tonumber(expire) and type(redis.pcall('PEXPIREAT', GROUP, expire)) == 'number' then
    ends[2 * number + 1], ends[2 * number + 2] = 'inf', '.'
    if redis.call('ZADD', ENDS, unpack(ends)) > number then redis.call('PEXPIREAT', ENDS, expire) end
    fields[2] = '1 ' .. epoch .. ' ' .. held .. ' ' .. leases .. ' ' .. top .. ' ' .. limit_seen .. ' ' .. token .. ' '
      .. latest .. ' ' .. expire .. ' ' .. made .. '- - ' .. gen .. ' ' .. ticket
    redis.call('HSET', GROUP, unpack(fields))
    return 'ok ' .. now .. ' ' .. epoch .. ' -1 0 0 ' .. table.concat(answers, ' ') .. ' 0'
  end
end
