-- records: leases, waiters and sessions, as this command sees them. What is asked for is read out of its text, and
-- stands in `hash` in its place then.
local lease, waiter, whose, owner_of, write_first, set_record, drop_record
local session, save_session, keep_alive, live, lose, waiting_of

piece(function()
  -- Leases that were set, by their texts, and waiters by their members of the queue, kept between commands.
  local parsed, many_parsed = {}, 0

  -- The lease or waiter of a field, nil without one. text: nil where it isn't known yet. member: a waiter's, if known.
  local function read_out(field, text, member)
    if text == nil then text = read_one(field) end
    if not text then return nil end
    local it = parsed[member or text]
    if not it or it.text ~= text or it.field ~= field then it = lease_of(field, text) or waiter_of(field, text) end
    hash[field] = it
    return it
  end

  function lease(field)
    local it = hash[field]
    if not it or not it.field then it = read_out(field, it) end
    return it and it.slots and it or nil
  end

  -- None when its line was lost. member: of the queue, if it's known.
  function waiter(field, member)
    local it = hash[field]
    if not it or not it.field then it = read_out(field, it, member) end
    return it and it.gen == g.gen and it or nil
  end

  -- Whose a member of the queue is: lease id, session and the field of its record.
  function whose(member)
    local it = parsed[member]
    if it then return it.id, it.owner, it.field end
    local id = id_of(member)
    return id, session_of_id(id), 'l' .. id
  end

  -- The field of the lease that has the name.
  function owner_of(name)
    local id = read_one('n' .. name)
    return id and 'l' .. id or nil
  end

  -- To be called before anything of a record is removed or set once more.
  function write_first(it)
    if it.turn == turn then flush() end
  end

  -- member: of a waiter.
  function set_record(it, member)
    local field, text, n = it.field, it.text, many_sets
    hash[field], it.turn = it, turn
    if #text < 500 then
      if many_parsed >= 1000 then parsed, many_parsed = {}, 0 end
      parsed[member or text], many_parsed = it, many_parsed + 1
    end
    sets[n + 1], sets[n + 2] = field, text
    many_sets = n + 2
  end

  function drop_record(it)
    local field = it.field
    parsed[it.text], hash[field] = nil, false
    many_dels = many_dels + 1
    dels[many_dels] = field
  end

  -- false without one, or where neither a waiter nor its guard keeps it (R12).
  function session(id)
    local field = 'c' .. id
    local it = hash[field]
    if it == nil or it and not it.field then
      local text = it or read_one(field)
      it = text and session_of(field, text, g.gen, now) or false
      hash[field] = it
    end
    return it
  end

  function save_session(it)
    if it.changed then return nil end
    it.changed, many_changed = true, many_changed + 1
    changed_sessions[many_changed] = it
  end

  -- The caller's session shows that it lives (R19).
  function keep_alive()
    own = session(SESSION)
    if not own then
      own, is_kept = new_session(SESSION_FIELD, CONNECTION), false
      hash[SESSION_FIELD] = own
    end
    if not is_kept then
      local deadline = now + KEEP_ALIVE
      is_kept, own.deadline, own.live, own.listens = true, num(deadline), deadline > now, LISTENS
      latest(deadline, own.deadline)
    end
    save_session(own)
    return own
  end

  function live(id)
    local it = session(id)
    return it and it.live
  end

  -- A session that is gone is live no more.
  function lose(id)
    local it = session(id)
    if not it then return nil end
    it.deadline, it.live, it.listens = '0', false, false
    save_session(it)
  end

  function waiting_of(id)
    local it = session(id)
    return it and it.count or 0
  end
end)
