-- leases: slots that are taken until an end, and when the earliest of them is over.
local statement, pass, set_lease, new_lease, grant, remove_lease, may_go_to, take_over, extend, next_end, has_room

piece(function()
  -- A lease as it stands.
  function statement(id, it)
    return statement_text(id, it.token, it.at_end, num(max(it.at_end - now, 0)), it.slots)
  end

  -- Writes a lease that has its slots; at_end is a number.
  function set_lease(it, at_end)
    local id, fields, n = it.id, slots_of(it.slots).fields, many_sets
    for i = 1, #fields do
      local field = fields[i]
      sets[n + 1], sets[n + 2] = field, id
      n = n + 2
      if places then places[field] = id end
    end
    many_sets = n
    if it.name then set_field('n' .. it.name, id) end
    set_record(it)
    set_end(id, at_end, it.at_end)
    if at_end > g.latest then latest(at_end, it.at_end) end
  end

  function has_room(terms)
    return g.held + terms.weight <= terms.limit
  end

  -- Answers its statement. length: from now, as a text.
  function new_lease(id, owner, field, terms, slots, length)
    local g, token, token_text, at_text, at_end = g, g.token + 1, nil, end_of(length)
    if token < now_us then token, token_text = now_us, now_us_text end
    token_text = token_text or num(token)
    g.held, g.leases, g.token, g.token_text = g.held + terms.weight, g.leases + 1, token, token_text
    local limit = terms.limit_text
    set_lease(new_lease_record(id, owner, field, at_text, token_text, limit, slots, terms.tail, terms.name), at_end)
    return statement_text(id, token_text, at_text, length, slots)
  end

  -- To a request of the caller's.
  function grant(id, field, terms, length)
    local slots = take(terms.weight, terms.limit)
    return slots and new_lease(id, SESSION, field, terms, slots, length)
  end

  function remove_lease(it)
    if it.turn == turn then flush() end
    local slots = slots_of(it.slots)
    for i = 1, #slots do
      free_slot(slots[i])
      if places then places[slots.fields[i]] = false end
    end
    if it.name then drop_field('n' .. it.name) end
    drop_record(it)
    drop_end(it.id, it.at_end)
    local g = g
    g.held, g.leases = g.held - #slots, g.leases - 1
  end

  function may_go_to(it, terms)
    local slots = slots_of(it.slots)
    return #slots == terms.weight and slots[#slots] <= terms.limit
  end

  -- The lease of a name goes to the asker (R16). Answers the new one's statement; the former one, for an undo.
  function take_over(former, id, owner, field, terms, length)
    local before = lease(former)
    write_first(before)
    drop_record(before)
    drop_end(before.id, before.at_end)
    g.held, g.leases = g.held - terms.weight, g.leases - 1
    return new_lease(id, owner, field, terms, before.slots, length), before
  end

  -- Answers the lease as it is then.
  function extend(id, it, length)
    write_first(it)
    local at_text, at_end = end_of(length)
    move_end(id, it.at_end, at_end, at_text)
    it = lease_until(it, at_text)
    set_record(it)
    latest(at_end, at_text)
    return it
  end

  -- Somebody else has the lease by a pass, unless that isn't news (R36). Answers it as it is then, to be extended.
  function pass(it, token, tail)
    if tonumber(token) <= tonumber(it.token) then return it end
    if tonumber(token) > g.token then g.token, g.token_text = tonumber(token), token end
    return lease_passed(it, token, tail)
  end

  -- How long until the earliest lease ends; nil without leases (R9).
  function next_end()
    if g.leases == 0 then return nil end
    if earliest == nil then
      if many_new_ends > 0 or many_old_ends > 0 then flush() end
      earliest = tonumber(call('ZRANGEBYSCORE', ENDS, '(0', '(inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]) or false
    end
    return earliest and max(earliest - now, 0) or nil
  end
end)
