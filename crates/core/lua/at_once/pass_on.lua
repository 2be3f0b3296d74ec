-- pass on: plain leases of a full group without gaps go to the first of the only class, who have weight 1 and no name
-- and whose sessions live. What `release`, `hand_off` and their pieces do in such a call comes to this; whatever isn't
-- as plain as that is left to them, with nothing written. If nobody received a publication, `gone` says what they undo.
local heads
if waiting >= number and number > 0 and number <= BUDGET and not SETTLING and mend == '' and #classes == 1
  and held == classes[1] and top == held and string.find(made, 'e', 1, true) then
  heads = redis.call('ZRANGE', QUEUE, 0, number - 1)
end
if heads then
  local ids, slots, fields, seen = {}, {}, {}, {}
  for i = 1, number do
    local field = wanted[NAMED + i]
    local slot = string.byte(field) == 108 and not seen[field]
      and string.match(got[NAMED + i] or '', '^H %d+ %d+ %d+ (%d+) %-1 ')
    if not slot then heads = nil break end
    seen[field] = true
    ids[i], slots[i], fields[i] = string.sub(field, 2), tonumber(slot), 'l' .. string.sub(heads[i], 19)
  end
  if number > 1 then table.sort(slots) end
  -- The sessions of those heads, each once, after their records.
  local owners, place = {}, {}
  for i = 1, heads and number or 0 do
    local owner = string.sub(heads[i], 19, 34)
    if not place[owner] then
      owners[#owners + 1] = owner
      place[owner] = #owners
      fields[number + #owners] = 'c' .. owner
    end
  end
  local its = heads and redis.call('HMGET', GROUP, unpack(fields))
  local parcels = {}
  for i = 1, heads and #owners or 0 do
    local deadline, connection, listens, count, guard, its_gen =
      string.match(its[number + i] or '', '^(%d+) (%d+) (%d) (%d+) (%d+) (%d+)$')
    if not deadline or its_gen ~= gen or tonumber(deadline) <= now then heads = nil break end
    parcels[i] = { owner = owners[i], deadline = deadline, connection = connection, listens = listens,
      count = tonumber(count), guard = guard }
  end
  local next_token, latest = math.max(token + 1, now_us), tonumber(latest_end)
  local ends, sets, handed, terms, text, limit, lease, claim, tail = {}, { 'state', '' }, {}, nil, nil, nil, nil, nil, nil
  for i = 1, heads and number or 0 do
    local its_gen, its_terms = string.match(its[i] or '', '^W %d+ (%d+) (.*)$')
    if its_gen ~= gen then heads = nil break end
    if its_terms ~= terms then
      terms = its_terms
      limit, lease, claim, tail = string.match(terms, '^(%d+) 1 %-?%d+ (%d+) (%d+) %-?%d+ (%-1 .*)$')
      if not limit then heads = nil break end
    end
    local id = string.sub(heads[i], 19)
    local parcel, slot = parcels[place[string.sub(id, 1, 16)]], slots[i]
    local length = parcel.owner == SESSION and lease or claim
    local at_end = string.format('%d', now + length)
    latest = math.max(latest, now + length)
    text = string.format('%d', next_token)
    next_token = next_token + 1
    ends[2 * i - 1], ends[2 * i] = at_end, id
    sets[4 * i - 1], sets[4 * i], sets[4 * i + 1] = 's' .. slot, id, fields[i]
    sets[4 * i + 2] = 'H ' .. at_end .. ' ' .. text .. ' ' .. limit .. ' ' .. slot .. ' ' .. tail
    local statement = id .. ' ' .. text .. ' ' .. at_end .. ' ' .. length .. ' ' .. slot
    if parcel.owner == SESSION then handed[#handed + 1] = statement else parcel[#parcel + 1] = statement end
    parcel.count = parcel.count - 1
  end
  if heads and latest + RESERVE <= tonumber(expire) and type(redis.pcall('ZREM', ENDS, unpack(ids))) == 'number' then
    redis.call('ZREM', QUEUE, unpack(heads))
    local dels = {}
    for i = 1, number do dels[i] = wanted[NAMED + i] end
    for i = 1, #parcels do
      local it = parcels[i]
      local field, record = 'c' .. it.owner, false
      if it.count > 0 or tonumber(it.guard) > now then
        record = it.deadline .. ' ' .. it.connection .. ' ' .. it.listens .. ' ' .. it.count .. ' ' .. it.guard .. ' ' .. gen
        sets[#sets + 1], sets[#sets + 2] = field, record
      else
        dels[#dels + 1] = field
      end
      if it.owner == SESSION then got[2] = record end
    end
    redis.call('HDEL', GROUP, unpack(dels))
    ends[2 * number + 1], ends[2 * number + 2] = 'inf', '.'
    if redis.call('ZADD', ENDS, unpack(ends)) > number then redis.call('PEXPIREAT', ENDS, expire) end
    waiting, token, latest_end = waiting - number, text, latest
    if waiting > 0 then counts[held] = waiting else classes, counts = {}, {} end
    state = '1 ' .. epoch .. ' ' .. held .. ' ' .. leases .. ' ' .. top .. ' ' .. limit_seen .. ' ' .. token .. ' ' .. latest
      .. ' ' .. expire .. ' ' .. made .. '- - ' .. gen .. ' ' .. ticket .. (waiting > 0 and ' ' .. held .. ':' .. waiting or '')
    sets[2] = state
    redis.call('HSET', GROUP, unpack(sets))
    local push_refused = 0
    for i = 1, #parcels do
      local it = parcels[i]
      if it.owner ~= SESSION and it.listens == '1' then
        local heard = tell(it.owner, epoch .. ' ' .. #it .. ' ' .. table.concat(it, ' ') .. ' ' .. GROUP)
        if not heard then push_refused = 2 end
        if heard == 0 and FLAGS < 4 then
          gone = gone or {}
          gone[#gone + 1] = it
        end
      end
    end
    if not gone then
      local head = 'ok ' .. now .. ' ' .. epoch .. ' -1 ' .. push_refused .. ' ' .. #handed .. ' '
      return head .. (#handed > 0 and table.concat(handed, ' ') .. ' ' or '') .. string.rep('1 ', number)
    end
    gone.handed, gone.push_refused = handed, push_refused > 0
  end
end
