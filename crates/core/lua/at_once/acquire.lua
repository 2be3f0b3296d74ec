-- at once: nobody waits, there is room for all, no name, weights of 1. What `acquire` and its pieces do in such a call
-- comes to this; whatever isn't as plain as that is left to them, with nothing written.
local plain = epoch and waiting == 0 and not line_lost and mend == '' and number <= BUDGET
  and string.find(made, 'e', 1, true)
local gaps, from_gaps = nil, 0
if plain and top > held then
  from_gaps = math.min(number, top - held)
  gaps = redis.pcall('ZRANGE', GAPS, 0, from_gaps - 1)
  plain = #gaps == from_gaps
end
if plain then
  -- Tables that are made with room for one item don't grow in a lone call.
  local fields, ends, answers, seen = { 'state', '', '', '', '', '' }, { '', '', '', '' }, { '' }, number > 1 and {}
  local next_token, highest = math.max(token + 1, now_us), top
  local latest, latest_text = tonumber(latest_end), latest_end
  local run, left = FROM + number + 1, 0
  local limit, at_end, ttl, tail, its_token
  for i = 1, number do
    local id, field, slot = ARGV[FROM + i], wanted[NAMED + i], gaps and gaps[i]
    if left == 0 then
      left = math.abs(ARGV[run])
      limit, ttl, tail = string.match(ARGV[run + 1], '^(%d+) 1 %-?%d+ (%d+) %d+ %-?%d+ (%-1 .*)$')
      run = run + 2
      if not limit or held + number > tonumber(limit) then plain = false break end
      at_end = string.format('%d', now + ttl)
      if now + ttl > latest then latest, latest_text = now + ttl, at_end end
    end
    if not slot then
      highest = highest + 1
      slot = string.format('%d', highest)
    elseif not tonumber(slot) or tonumber(slot) > tonumber(limit) then
      -- A range, no gap at all, or a sign that gaps were lost.
      plain = false break
    end
    if got[NAMED + i] then plain = false break end
    if seen then
      if seen[id] then plain = false break end
      seen[id] = true
    end
    left = left - 1
    its_token = string.format('%d', next_token)
    next_token = next_token + 1
    fields[4 * i - 1], fields[4 * i], fields[4 * i + 1] = 's' .. slot, id, field
    fields[4 * i + 2] = 'H ' .. at_end .. ' ' .. its_token .. ' ' .. limit .. ' ' .. slot .. ' ' .. tail
    ends[2 * i - 1], ends[2 * i] = at_end, id
    answers[i] = 'granted ' .. id .. ' ' .. its_token .. ' ' .. at_end .. ' ' .. ttl .. ' ' .. slot
  end
  ends[2 * number + 1], ends[2 * number + 2] = 'inf', '.'
  -- A first write that is refused has written nothing either.
  local added = plain and latest + RESERVE <= tonumber(expire) and redis.pcall('ZADD', ENDS, unpack(ends))
  if type(added) == 'number' then
    if added > number then redis.call('PEXPIREAT', ENDS, expire) end -- It had vanished alone.
    if from_gaps > 0 then redis.call('ZREM', GAPS, unpack(gaps)) end
    held = string.format('%d', held + number)
    leases, top = evenly and held or leases + number, evenly and held or highest
    fields[2] = '1 ' .. epoch .. ' ' .. held .. ' ' .. leases .. ' ' .. top .. ' ' .. limit .. ' ' .. its_token .. ' '
      .. latest_text .. ' ' .. expire .. ' ' .. made .. '- - ' .. gen .. ' ' .. ticket
    redis.call('HSET', GROUP, unpack(fields))
    return string.format('ok %d ', now) .. epoch .. ' -1 0 0 ' .. table.concat(answers, ' ')
  end
end
