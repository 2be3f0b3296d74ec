-- line: who waits, in classes of one limit; who is at the head of each, who joins, who leaves (R3, R4).
--
-- A class is read a window at a time; what this command changes of the line is written before the next window is read.
local read_those, head, stands_before, line_takes, drop_member, join, leave

piece(function()
  -- Reads the records of these members and of their sessions.
  function read_those(members)
    local fields, n, owner = {}, 0, nil
    for i = 1, #members do
      local _, its, field = whose(members[i])
      n = n + 1
      fields[n] = field
      if its ~= owner then
        owner, n = its, n + 1
        fields[n] = 'c' .. its
      end
    end
    read(fields, n)
  end

  -- The first of a class; n: how many the caller may want one after the other.
  function head(limit, n)
    local window = windows and windows[limit]
    local first = window and window[window.at]
    if first then return first end
    if not g.counts[limit] then return nil end
    if many_joins > 0 or many_leaves > 0 then flush() end
    windows = windows or {}
    if window and n < 2 * window.asked then n = 2 * window.asked end
    if n > 50 then n = 50 end
    window = call('ZRANGEBYSCORE', QUEUE, limit, limit, 'LIMIT', 0, n)
    window.at, window.asked = 1, n
    windows[limit] = window
    if n > 1 then read_those(window) end
    return window[1]
  end

  -- Whether somebody waits whom a request of this limit and priority may not overtake.
  function stands_before(limit, priority)
    local classes = g.classes
    for i = #classes, 1, -1 do
      if classes[i] < limit then return false end
      local first = head(classes[i], 1)
      if first and priority_of(first) >= priority then return true end
    end
    return false
  end

  function line_takes(limit)
    return #g.classes < 32 or g.counts[limit] ~= nil
  end

  local function begin_class(limit, member)
    local classes, place = g.classes, 1
    windows = windows or {}
    windows[limit] = { member, at = 1, asked = 1 }
    while classes[place] and classes[place] < limit do place = place + 1 end
    insert(classes, place, limit)
  end

  -- Takes a member out, of which there is no record any more.
  function drop_member(limit, member)
    local g = g
    local classes, counts = g.classes, g.counts
    many_leaves, g.waiting = many_leaves + 1, g.waiting - 1
    leaves[many_leaves] = member
    local window = windows and windows[limit]
    if window and window[window.at] == member then
      window.at = window.at + 1
    elseif window then
      windows[limit] = nil
    end
    local left = counts[limit] - 1
    counts[limit] = left
    if left > 0 then return end
    counts[limit] = nil
    if windows then windows[limit] = nil end
    for i = 1, #classes do
      if classes[i] == limit then
        remove(classes, i)
        return
      end
    end
  end

  -- The caller's request joins the line; its session has just shown that it lives. Answers the ticket's text.
  function join(id, field, terms, ticket)
    local g, text, n = g, num(ticket), many_joins
    if ticket > g.ticket then g.ticket, g.ticket_text = ticket, text end
    local member = member_of(id, text, terms)
    set_record(new_waiter(id, SESSION, field, text, g.gen, terms), member)
    joins[n + 1], joins[n + 2] = terms.limit_text, member
    many_joins = n + 2
    local limit, counts = terms.limit, g.counts
    local already, window = counts[limit], windows and windows[limit]
    counts[limit], g.waiting = (already or 0) + 1, g.waiting + 1
    if not already then
      begin_class(limit, member)
    elseif window and member < (window[#window] or '') then
      windows[limit] = nil
    end
    if not (is_kept and own.changed) then keep_alive() end
    own.count, own.connection = own.count + 1, CONNECTION
    return text
  end

  -- A waiter that is granted something has another record then; any other has none. its, member: if they are known.
  function leave(it, its, member, granted)
    if it.turn == turn then flush() end
    drop_member(it.terms.limit, member or member_of(it.id, it.ticket, it.terms))
    if not granted then drop_record(it) end
    its = its or session(it.owner)
    if its then
      if its.count > 0 then its.count = its.count - 1 end
      if not its.changed then save_session(its) end
    end
  end
end)
