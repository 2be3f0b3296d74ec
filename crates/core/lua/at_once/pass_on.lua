-- pass on: one plain lease of a full group without gaps goes to the head of the only class, which has weight 1 and no
-- name and whose session lives. What `release`, `hand_off` and their pieces do in such a call comes to this; whatever
-- isn't as plain as that is left to them, with nothing written. If nobody received the publication, `gone` says what
-- they undo.
local slot = number == 1 and waiting > 0 and not SETTLING and mend == '' and #classes == 1 and held == classes[1]
  and top == held and string.find(made, 'e', 1, true) and string.byte(wanted[NAMED + 1]) == 108
  and string.match(got[NAMED + 1] or '', '^H %d+ %d+ %d+ (%d+) %-1 ')
if slot then
  local member = redis.call('ZRANGEBYSCORE', QUEUE, held, held, 'LIMIT', 0, 1)[1] or ''
  local id, owner = string.sub(member, 19), string.sub(member, 19, 34)
  local its = redis.call('HMGET', GROUP, 'l' .. id, 'c' .. owner)
  local its_gen, limit, lease, claim, tail =
    string.match(its[1] or '', '^W %d+ (%d+) (%d+) 1 %-?%d+ (%d+) (%d+) %-?%d+ (%-1 .*)$')
  local deadline, connection, listens, count, guard, count_gen =
    string.match(its[2] or '', '^(%d+) (%d+) (%d) (%d+) (%d+) (%d+)$')
  local length = owner == SESSION and lease or claim
  if its_gen and deadline and tonumber(its_gen) == gen and tonumber(count_gen) == gen and tonumber(deadline) > now
    and math.max(now + length, tonumber(latest_end)) + RESERVE <= tonumber(expire)
    and type(redis.pcall('ZREM', ENDS, string.sub(wanted[NAMED + 1], 2))) == 'number' then
    redis.call('ZREM', QUEUE, member)
    token = string.format('%.0f', math.max(token + 1, now_us))
    local at_end = string.format('%.0f', now + length)
    if now + length > tonumber(latest_end) then latest_end = at_end end
    waiting, counts[held] = waiting - 1, counts[held] - 1
    local in_line = string.match(line, '^%d+ %d+')
    if waiting > 0 then in_line = in_line .. ' ' .. limit .. ':' .. waiting else classes, counts = {}, {} end
    local state = string.format('%d %d %.0f %s %s %s', held, leases, top, limit_seen, token, latest_end)
    local record = 'H ' .. at_end .. ' ' .. token .. ' ' .. limit .. ' ' .. slot .. ' ' .. tail
    local statement = id .. ' ' .. token .. ' ' .. at_end .. ' ' .. length .. ' ' .. slot
    redis.call('HDEL', GROUP, wanted[NAMED + 1], 'c' .. owner)
    redis.call('ZADD', ENDS, at_end, id)
    redis.call('HSET', GROUP, 's' .. slot, id, 'l' .. id, record, 'state', state, 'line', in_line)
    if count ~= '1' or tonumber(guard) > now then
      its[2] = deadline .. ' ' .. connection .. ' ' .. listens .. ' ' .. count - 1 .. ' ' .. guard .. ' ' .. count_gen
      redis.call('HSET', GROUP, 'c' .. owner, its[2])
    end
    if owner == SESSION then return { 'ok', now, epoch, -1, 0, { statement }, { 1 } } end
    local heard = 1
    if listens == '1' then heard = tell(owner, epoch .. ' 1 ' .. statement .. ' ' .. GROUP) end
    if heard ~= 0 or FLAGS >= 4 then return { 'ok', now, epoch, -1, heard and 0 or 2, {}, { 1 } } end
    gone = { owner = owner, id = id }
    got[2], got[3], got[NAMED + 1] = state, in_line, false
  end
end
