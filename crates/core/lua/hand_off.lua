-- hand_off: while the next waiter fits, it is granted; each session is told once a round (R4, R17, R18, R20, R22).
--
-- A grant is fully written before its publication. One that nobody received is undone by ordinary writes, and its room
-- goes to the next in another round.
local hand_off

piece(function()
  local parcels -- of this round: session and its grants, in the order of the first one

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

  local function pack(owner, one)
    local parcel = parcels[owner]
    if parcel then
      parcel[#parcel + 1] = one
      return
    end
    parcel = { owner = owner, one }
    parcels[#parcels + 1], parcels[owner] = parcel, parcel
  end

  -- To the head of the line; false when its slots can't be told yet.
  local function hand(id, it, member, its, former)
    local terms, mine, said, before = it.terms, its == own, nil, nil
    local length = mine and terms.lease or terms.claim
    if former then
      leave(id, it, its, member, true)
      said, before = take_over(former, id, its.id, it.field, terms, length)
    else
      local slots = take(terms.weight, terms.limit)
      if not slots then return false end
      leave(id, it, its, member, true)
      said = new_lease(id, its.id, it.field, terms, slots, length)
    end
    touched = touched + terms.weight
    if mine then
      many_handed = many_handed + 1
      handed[many_handed], grants[many_handed] = id, said
    elseif its.listens then
      pack(its.id, { id = id, field = it.field, statement = said, former = former, before = before })
    end
    return true
  end

  -- One head: hands to it or lets it leave. Answers above which limit the next one is looked for.
  local function serve(member, limit, above)
    local id = id_of(member)
    local owner, field = session_of_id(id), 'l' .. id
    local is_present = owner == present
    if hash[field] == nil or not is_present and hash['c' .. owner] == nil then read({ field, 'c' .. owner }) end
    local it = waiter(field)
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
      leave(id, it, its, member)
      touched = touched + 1
    elseif not ((former or has_room(terms)) and hand(id, it, member, its, former)) then
      return limit
    end
    return above
  end

  -- The last grant first, so that a name that went from hand to hand within the round comes back to its first owner.
  local function take_back(parcel)
    for i = #parcel, 1, -1 do
      local one = parcel[i]
      local it = lease(one.field)
      if it and one.former then
        local before = one.before
        write_first(it)
        drop_record(it)
        drop_end(one.id, it.at_end)
        set_lease(before, tonumber(before.at_end))
      elseif it then
        remove_lease(it)
      end
    end
  end

  -- Whether nobody received it: then the session is gone.
  local function publish(parcel)
    local said = {}
    for i = 1, #parcel do said[i] = parcel[i].statement end
    local heard = tell(CHANNEL, parcel.owner, g.epoch .. ' ' .. num(#said) .. ' ' .. concat(said, ' ') .. ' ' .. GROUP)
    if not heard then push_refused = true end
    if heard ~= 0 or CLUSTER then return false end
    lose(parcel.owner)
    take_back(parcel)
    return true
  end

  -- Whether it has told somebody: then all is written.
  function hand_off()
    if SETTLING or g.waiting == 0 then return nil end
    local gone
    present, its_session = nil, nil
    repeat
      local above = 0
      parcels, gone = {}, false
      while true do
        if touched >= BUDGET then
          again = true
          break
        end
        local member, limit = best_head(above)
        if not member then break end
        above = serve(member, limit, above)
      end
      if #parcels > 0 then flush() end
      for i = 1, #parcels do gone = publish(parcels[i]) or gone end
    until not gone
    return #parcels > 0
  end
end)
