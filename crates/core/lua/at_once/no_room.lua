-- no room: requests of weight 1 without a name, all on the same terms, in a group that is full for them and for
-- everybody who waits, while no lease has ended. All join the line, or all are refused since enough wait, whose
-- sessions live; a lone one that doesn't wait is refused. What `acquire`, `reap`, `hand_off` and their pieces do in
-- such a call comes to this; whatever isn't as plain as that is left to them, with nothing written.
local limit, priority, max, many, terms = nil, nil, nil, tonumber(ARGV[FROM + number + 1]), ARGV[FROM + number + 2]
local waits = many == number
if (waits or (number == 1 and many == -1)) and epoch and not line_lost and mend == '' and number <= BUDGET
  and (waiting == 0 or classes[#classes] <= held) and (not waits or string.find(made, 'q', 1, true)) then
  limit, priority, max = string.match(terms, '^(%d+) 1 (%-?%d+) %d+ %d+ (%-?%d+) %-1 ')
  local seen = {}
  for i = 1, number do
    local id = ARGV[FROM + i]
    if got[NAMED + i] or seen[id] then limit = nil end
    seen[id] = true
  end
  limit, max = tonumber(limit), tonumber(max)
  if limit and waits and max >= 0 and waiting < max and waiting + number > max then limit = nil end
end
if limit and held >= limit and redis.call('ZCOUNT', ENDS, '(0', '(inf') == tonumber(leases) then
  local earliest = redis.call('ZRANGEBYSCORE', ENDS, '(0', '(inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  local next_end, deadline = earliest - now, now + KEEP_ALIVE
  -- The session's record counts while one of its requests waits or until its guard.
  local lives_until, count, guard, its_gen = string.match(got[2] or '', '^(%d+) %d+ %d (%d+) (%d+) (%d+)$')
  count = count and its_gen == gen and tonumber(count) or 0
  if count == 0 and guard and tonumber(guard) <= now then guard = nil end
  local latest = waits and math.max(deadline, tonumber(latest_end)) or latest_end
  state = '1 ' .. epoch .. ' ' .. held .. ' ' .. leases .. ' ' .. top .. ' ' .. limit .. ' ' .. token .. ' ' .. latest .. ' '
    .. expire .. ' ' .. made .. '- - ' .. gen .. ' '
  -- Whether as many wait as they allow; and then, whether all at the front live. Mostly few sessions have all the
  -- waiters, often the caller's has: once as many are accounted for as wait, nobody else is looked for.
  local enough, alive, accounted, looked_at = waits and max >= 0 and waiting >= max, true, count, 0
  local seen = enough and { [SESSION] = count > 0 }
  if count > 0 and tonumber(lives_until) <= now then alive = false end
  while enough and alive and accounted < waiting and looked_at < BUDGET do
    local to, owners = looked_at == 0 and 20 or BUDGET, {}
    local members = redis.call('ZRANGE', QUEUE, looked_at, to - 1)
    looked_at = #members < to - looked_at and BUDGET or to
    for i = 1, #members do
      local owner = string.sub(members[i], 19, 34)
      if owner ~= '' and not seen[owner] then
        seen[owner] = true
        owners[#owners + 1] = 'c' .. owner
      end
    end
    local its = #owners > 0 and redis.call('HMGET', GROUP, unpack(owners)) or owners
    for i = 1, #its do
      local until_ms, its_count, its_gen = string.match(its[i] or '', '^(%d+) %d+ %d (%d+) %d+ (%d+)$')
      if its_gen ~= gen or tonumber(until_ms) <= now then alive = false break end
      accounted = accounted + its_count
    end
  end
  if next_end <= 0 or not alive or latest + RESERVE > tonumber(expire) then
    state = got[1]
  elseif enough then
    if type(redis.pcall('HSET', GROUP, 'state', state .. ticket .. line)) == 'number' then
      local head = string.format('ok %d %s %d 0 0', now, epoch, count > 0 and next_end or -1)
      return head .. string.rep(' queue-full ' .. waiting, number)
    end
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
    members[2 * number + 1], members[2 * number + 2] = 'inf', '.'
    local added = redis.pcall('ZADD', QUEUE, unpack(members))
    if type(added) == 'number' then
      if added > number then redis.call('PEXPIREAT', QUEUE, expire) end -- It had vanished alone.
      redis.call('HSET', GROUP, unpack(fields))
      return 'ok ' .. now .. ' ' .. epoch .. ' ' .. next_end .. ' 0 0 ' .. table.concat(answers, ' ')
    end
    state = got[1]
  end
end
