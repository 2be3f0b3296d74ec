-- records: leases, waiters and sessions, as this command sees them.
--
-- A record that this command has set stands as `true` until somebody asks what it says, and is `fresh` then.
local lease, waiter, owner_of, write_first, set_record, drop_record
local session, save_session, keep_alive, live, lose, waiting_of

piece(function()
  local function record(id)
    local it = records[id]
    if it == nil or it == true then
      local text = read_one('l' .. id)
      local fresh = it
      it = text and (lease_of(text) or waiter_of(text, g.gen)) or false
      if it then it.fresh = fresh end
      records[id] = it
    end
    return it
  end

  function lease(id)
    local it = record(id)
    return it and it.slots and it or nil
  end

  function waiter(id)
    local it = record(id)
    return it and it.terms and it or nil
  end

  function owner_of(name)
    return read_one('n' .. name) or nil
  end

  -- To be called before anything of a record is removed or set once more.
  function write_first(it)
    if it.fresh then flush() end
    it.fresh = false
  end

  function set_record(id, text)
    records[id] = true
    set_field('l' .. id, text)
  end

  function drop_record(id)
    records[id] = false
    drop_field('l' .. id)
  end

  function session(id)
    local it = sessions[id]
    if it == nil then
      local text = read_one('c' .. id)
      it = text and session_of(id, text, g.gen, now) or false
      sessions[id] = it
    end
    return it
  end

  function save_session(it)
    sessions[it.id] = it
    if it.changed then return nil end
    it.changed, many_changed = true, many_changed + 1
    changed_sessions[many_changed] = it
  end

  -- The caller's session shows that it lives (R19).
  function keep_alive()
    if not own or not sessions[SESSION] then
      own = { id = SESSION, connection = CONNECTION, count = 0, guard = '0' }
    end
    if not own.kept then
      local deadline = now + KEEP_ALIVE
      own.kept, own.deadline, own.live, own.listens = true, num(deadline), deadline > now, LISTENS
      latest(deadline)
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
