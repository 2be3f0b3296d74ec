-- hand_off: while the next waiter fits, it is granted; each session is told once a round (R4, R17, R18, R20, R22).
--
-- A grant is fully written before its publication. One that nobody received is undone by ordinary writes, and its room
-- goes to the next in another round.
local hand_off

piece(function()
  local parcels -- of this round: session and its grants, in the order of the first one

  local function best_head(above)
    local best, its_limit
    local classes = g.classes
    above = max(above, g.held)
    for i = #classes, 1, -1 do
      local limit = classes[i]
      if limit <= above then break end
      local first = head(limit, limit - g.held)
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
    local terms, mine = it.terms, its.id == SESSION
    local length = mine and terms.lease or terms.claim
    local slots = not former and take(terms.weight, terms.limit)
    if not former and not slots then return false end
    leave(id, it, its, member, true)
    local said, before
    if former then
      said, before = take_over(former, id, it.field, terms, length)
    else
      said = new_lease(id, it.field, terms, slots, length)
    end
    touched = touched + terms.weight
    if mine then
      handed = handed or {}
      handed[#handed + 1], handed[#handed + 2] = id, said
    elseif its.listens then
      pack(its.id, { id = id, field = it.field, statement = said, former = former, before = before })
    end
    return true
  end

  -- One head: hands to it or lets it leave. Answers above which limit the next one is looked for.
  local function serve(member, limit, above)
    local id = id_of(member)
    local owner = session_of_id(id)
    local field, its_field = 'l' .. id, 'c' .. owner
    if hash[field] == nil or hash[its_field] == nil then read({ field, its_field }) end
    local it = waiter(field)
    if not it then
      drop_member(limit, member)
      touched = touched + 1
      return above
    end
    write_first(it)
    local terms, its = it.terms, session(owner)
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
        set_lease(id_in(one.former), before, tonumber(before.at_end))
      elseif it then
        remove_lease(it, one.id)
      end
    end
  end

  -- Whether nobody received it: then the session is gone.
  local function publish(parcel)
    local said = {}
    for i = 1, #parcel do said[i] = parcel[i].statement end
    local heard = tell(CHANNEL, parcel.owner, g.epoch .. ' ' .. #said .. ' ' .. concat(said, ' ') .. ' ' .. GROUP)
    if not heard then push_refused = true end
    if heard ~= 0 or CLUSTER then return false end
    lose(parcel.owner)
    take_back(parcel)
    return true
  end

  function hand_off()
    if SETTLING or g.waiting == 0 then return nil end
    local gone
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
  end
end)
