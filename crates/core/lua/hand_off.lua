-- hand_off: while the next waiter fits, it is granted; each session is told once a round (R4, R17, R18, R20, R22).
--
-- A grant is fully written before its publication. One that nobody received is undone by ordinary writes, and its room
-- goes to the next in another round.
local hand_off

piece(function()
  -- Of this round, in the order of the first grant: a session's statements, and with them the fields of the leases and
  -- what they were taken over from. nil while there are none.
  local batches
  local present, its_session -- whose waiter was served last: most often the next one is theirs, too

  local function best_head(above)
    local best, its_limit
    local classes, held = g.classes, g.held
    if held > above then above = held end
    for i = #classes, 1, -1 do
      local limit = classes[i]
      if limit <= above then break end
      local first = head(limit, limit - held)
      if first and (not best or first < best) then best, its_limit = first, limit end
    end
    return best, its_limit
  end

  local function add_to_batch(owner, said, field, before)
    batches = batches or {}
    local batch = batches[owner]
    if not batch then
      batch = { owner = owner, fields = {}, taken_over = {} }
      batches[#batches + 1], batches[owner] = batch, batch
    end
    local n = #batch + 1
    batch[n], batch.fields[n], batch.taken_over[n] = said, field, before
  end

  -- To the head of the line; false when its slots can't be told yet.
  local function hand(it, member, its, former)
    local id, terms, mine, said, before = it.id, it.terms, its == own, nil, nil
    local length = mine and terms.lease or terms.claim
    if former then
      leave(it, its, member, true)
      said, before = take_over(former, id, it.owner, it.field, terms, length)
    else
      local slots = take(terms.weight, terms.limit)
      if not slots then return false end
      leave(it, its, member, true)
      said = new_lease(id, it.owner, it.field, terms, slots, length)
    end
    touched = touched + terms.weight
    if mine then
      many_handed = many_handed + 1
      handed[many_handed], grants[many_handed] = id, said
    elseif its.listens then
      add_to_batch(it.owner, said, it.field, before)
    end
    return true
  end

  -- One head: hands to it or lets it leave. Answers above which limit the next one is looked for.
  local function serve(member, limit, above)
    local _, owner, field = whose(member)
    local is_present = owner == present
    if not is_present then read_both(field, 'c' .. owner) end
    local it = waiter(field, member)
    if not it then
      drop_member(limit, member)
      touched = touched + 1
      return above
    end
    if it.turn == turn then flush() end
    if not is_present or not its_session or its_session.count == 0 then
      present, its_session = owner, session(owner)
    end
    local terms, its = it.terms, its_session
    local former = terms.name and owner_of(terms.name)
    if not (its and its.live) or (former and not may_go_to(lease(former), terms)) then
      leave(it, its, member)
      touched = touched + 1
    elseif not ((former or has_room(terms)) and hand(it, member, its, former)) then
      return limit
    end
    return above
  end

  -- The last grant first, so that a name that went from hand to hand within the round comes back to its first owner.
  local function take_back(batch)
    for i = #batch, 1, -1 do
      local it, before = lease(batch.fields[i]), batch.taken_over[i]
      if it and before then
        write_first(it)
        drop_record(it)
        drop_end(it.id, it.at_end)
        set_lease(before, tonumber(before.at_end))
      elseif it then
        remove_lease(it)
      end
    end
  end

  -- Whether nobody received it: then the session is gone.
  local function publish(batch)
    local said = num(#batch) .. ' ' .. concat(batch, ' ')
    local heard = tell(CHANNEL, batch.owner, g.epoch .. ' ' .. said .. ' ' .. GROUP)
    if not heard then push_refused = true end
    if heard ~= 0 or CLUSTER then return false end
    lose(batch.owner)
    take_back(batch)
    return true
  end

  -- Whether it has told somebody: then all is written.
  function hand_off()
    if SETTLING or g.waiting == 0 then return nil end
    local gone, has_told = false, false
    present, its_session = nil, nil
    repeat
      local above = 0
      batches, gone = nil, false
      while true do
        if touched >= BUDGET then
          again = true
          break
        end
        local member, limit = best_head(above)
        if not member then break end
        above = serve(member, limit, above)
      end
      has_told = batches ~= nil
      if has_told then
        flush()
        for i = 1, #batches do gone = publish(batches[i]) or gone end
      end
    until not gone
    return has_told
  end
end)
