-- records: leases, waiters and sessions, as this command sees them, by their fields.
--
-- A record that this command has set stands as `true` until somebody asks what it says, and is `fresh` then.
local lease, waiter, owner_of, write_first, set_record, drop_record
local session, save_session, keep_alive, live, lose, waiting_of

piece(function()
  local function record(field)
    local fresh, text = records[field], hash[field]
    if text == nil then text = read_one(field) end
    local it = text and (lease_of(text) or waiter_of(text, g.gen)) or false
    if it then it.field, it.fresh = field, fresh end
    records[field] = it
    return it
  end

  function lease(field)
    local it = records[field]
    if it == nil or it == true then it = record(field) end
    return it and it.slots and it or nil
  end

  function waiter(field)
    local it = records[field]
    if it == nil or it == true then it = record(field) end
    return it and it.terms and it or nil
  end

  -- The field of the lease that has the name.
  function owner_of(name)
    local id = read_one('n' .. name)
    return id and 'l' .. id or nil
  end

  -- To be called before anything of a record is removed or set once more.
  function write_first(it)
    if it.fresh then flush() end
    it.fresh = false
  end

  function set_record(field, text)
    records[field] = true
    set_field(field, text)
  end

  function drop_record(field)
    records[field] = false
    drop_field(field)
  end

  function session(id)
    local field = 'c' .. id
    local it = records[field]
    if it == nil then
      local text = read_one(field)
      it = text and session_of(id, field, text, g.gen, now) or false
      records[field] = it
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
      own = new_session(SESSION, 'c' .. SESSION, CONNECTION)
      records[own.field] = own
    end
    if not own.kept then
      local deadline = now + KEEP_ALIVE
      own.kept, own.deadline, own.live, own.listens = true, num(deadline), deadline > now, LISTENS
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
