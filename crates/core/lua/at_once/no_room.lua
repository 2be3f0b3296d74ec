-- no room: requests of weight 1 without a name, all on the same terms, in a group that is full for them and for everybody
-- who waits, while no lease has ended. They join the line; a lone one that doesn't wait is refused. What `acquire`,
-- `reap`, `hand_off` and their pieces do in such a call comes to this; whatever isn't as plain as that is left to them,
-- with nothing written.
local limit, priority, many, terms = nil, nil, tonumber(ARGV[FROM + number + 1]), ARGV[FROM + number + 2]
local waits = many == number
if (waits or (number == 1 and many == -1)) and epoch and not line_lost and mend == '' and number <= BUDGET
  and (waiting == 0 or classes[#classes] <= held) and (not waits or string.find(made, 'q', 1, true)) then
  limit, priority = string.match(terms, '^(%d+) 1 (%-?%d+) %d+ %d+ %-1 %-1 ')
  local seen = {}
  for i = 1, number do
    local id = ARGV[FROM + i]
    if got[NAMED + i] or seen[id] then limit = nil end
    seen[id] = true
  end
  limit = tonumber(limit)
end
if limit and held >= limit and redis.call('ZCOUNT', ENDS, '(0', '(inf') == tonumber(leases) then
  local earliest = redis.call('ZRANGEBYSCORE', ENDS, '(0', '(inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  local next_end, deadline = earliest - now, now + KEEP_ALIVE
  -- The session's record counts while one of its requests waits or until its guard.
  local count, guard, its_gen = string.match(got[2] or '', '(%d+) (%d+) (%d+)$')
  count = count and its_gen == gen and tonumber(count) or 0
  if count == 0 and guard and tonumber(guard) <= now then guard = nil end
  local latest = waits and math.max(deadline, tonumber(latest_end)) or latest_end
  state = '1 ' .. epoch .. ' ' .. held .. ' ' .. leases .. ' ' .. top .. ' ' .. limit .. ' ' .. token .. ' ' .. latest .. ' '
    .. expire .. ' ' .. made .. '- - ' .. gen .. ' '
  if next_end <= 0 or latest + RESERVE > tonumber(expire) then
    state = got[1]
  elseif not waits then
    if type(redis.pcall('HSET', GROUP, 'state', state .. ticket .. line)) == 'number' then
      return string.format('ok %d %s %d 0 0 full %d %d %d', now, epoch, count > 0 and next_end or -1, held, waiting, next_end)
    end
    state = got[1]
  elseif waiting > 0 and not counts[limit] then
    state = got[1]
  else
    local its_ticket, before = math.max(ticket + 1, now_us), string.format('%02d', 10 - priority)
    local members, fields, answers, text = {}, { 'state', '', 'c' .. SESSION, '' }, {}, nil
    for i = 1, number do
      local id = ARGV[FROM + i]
      text = string.format('%016d', its_ticket)
      members[2 * i - 1], members[2 * i] = limit, before .. text .. id
      fields[2 * i + 3], fields[2 * i + 4] = wanted[NAMED + i], 'W ' .. text .. ' ' .. gen .. ' ' .. terms
      answers[i] = 'queued ' .. text .. ' ' .. waiting + i - 1
      its_ticket = its_ticket + 1
    end
    local in_line = waiting == 0 and ' ' .. limit .. ':' .. number or ''
    for i = 1, waiting > 0 and #classes or 0 do
      in_line = in_line .. ' ' .. classes[i] .. ':' .. counts[classes[i]] + (classes[i] == limit and number or 0)
    end
    fields[2] = state .. text .. in_line
    fields[4] = string.format('%d %s %d %d %s %d', deadline, CONNECTION, FLAGS % 2, count + number, guard or 0, gen)
    if type(redis.pcall('ZADD', QUEUE, unpack(members))) == 'number' then
      redis.call('HSET', GROUP, unpack(fields))
      return 'ok ' .. now .. ' ' .. epoch .. ' ' .. next_end .. ' 0 0 ' .. table.concat(answers, ' ')
    end
    state = got[1]
  end
end
