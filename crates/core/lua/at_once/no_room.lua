-- no room: one request of weight 1 without a name in a group that is full for it and for everybody who waits, while no
-- lease has ended. It joins the line or is refused. What `acquire`, `reap`, `hand_off` and their pieces do in such a
-- call comes to this; whatever isn't as plain as that is left to them, with nothing written.
local limit, terms = nil, ARGV[10]
if number == 1 and epoch and not got[NAMED + 1] and not line_lost and mend == ''
  and (waiting == 0 or classes[#classes] <= held) then
  limit = tonumber((string.match(terms, '^(%d+) 1 %-?%d+ %d+ %d+ %-1 %-1 ')))
end
local waits = ARGV[9] == '1'
if limit and held >= limit and (not waits or string.find(made, 'q', 1, true))
  and redis.call('ZCOUNT', ENDS, '(0', '(inf') == leases then
  local earliest = redis.call('ZRANGEBYSCORE', ENDS, '(0', '(inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  local next_end, deadline = earliest - now, now + KEEP_ALIVE
  -- The session's record counts while one of its requests waits or until its guard.
  local count, guard, its_gen = string.match(got[5] or '', '(%d+) (%d+) (%d+)$')
  count = count and tonumber(its_gen) == gen and tonumber(count) or 0
  if count == 0 and guard and tonumber(guard) <= now then guard = nil end
  local latest = waits and math.max(deadline, tonumber(latest_end)) or tonumber(latest_end)
  local state = string.format('%d %d %.0f %.0f %s %.0f', held, leases, top, limit, token, latest)
  if next_end <= 0 or latest + RESERVE > tonumber(expire) then
    limit = nil
  elseif not waits then
    if type(redis.pcall('HSET', GROUP, 'state', state)) == 'number' then
      local full = string.format('full %d %d %.0f', held, waiting, next_end)
      return { 'ok', now, epoch, count > 0 and next_end or -1, 0, {}, { full } }
    end
  elseif waiting == 0 or counts[limit] then
    local id, its_ticket = ARGV[8], string.format('%.0f', math.max(ticket + 1, now_us))
    local member = string.format('%02d%016.0f', 10 - string.match(terms, ' 1 (%S+)'), its_ticket) .. id
    local in_line = gen .. ' ' .. its_ticket
    if waiting == 0 then in_line = in_line .. ' ' .. limit .. ':1' end
    for i = 1, waiting > 0 and #classes or 0 do
      in_line = in_line .. ' ' .. classes[i] .. ':' .. counts[classes[i]] + (classes[i] == limit and 1 or 0)
    end
    local own = string.format('%.0f %s %d %d %s %d', deadline, ARGV[2], FLAGS % 2, count + 1, guard or 0, gen)
    if type(redis.pcall('ZADD', QUEUE, limit, member)) == 'number' then
      local record = 'W ' .. its_ticket .. ' ' .. gen .. ' ' .. terms
      redis.call('HSET', GROUP, 'state', state, 'line', in_line, 'l' .. id, record, 'c' .. SESSION, own)
      return { 'ok', now, epoch, next_end, 0, {}, { 'queued ' .. its_ticket .. ' ' .. waiting } }
    end
  end
end
