-- hand_off: while the next waiter fits, it is granted; each session is told once a round (R4, R17, R18, R20, R22).
--
-- A grant is fully written before its publication. One that nobody received is undone by ordinary writes, and its
-- room goes to the next in another round.
local function hand_off()
  if SETTLING or waiting == 0 then return end
  local parcels -- of this round: session and its grants, in the order of the first one

  local function best_head(floor)
    local best, its_limit
    floor = math.max(floor, g.held)
    for i = #classes, 1, -1 do
      local limit = classes[i]
      if limit <= floor then break end
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
  local function hand(id, it, former)
    local owner, terms = string.sub(id, 1, 16), it.terms
    local own, listens = owner == SESSION, session(owner).listens
    local length = own and terms.lease or terms.claim
    local slots = not former and take(terms.weight, terms.limit)
    if not former and not slots then return false end
    leave(id)
    local granted, before
    if former then
      granted, before = take_over(former, id, terms, length)
    else
      granted = new_lease(id, terms, next_token(), slots, now + length)
    end
    touched = touched + terms.weight
    if own then
      handed[#handed + 1] = { id, statement(id, granted) }
    elseif listens then
      pack(owner, { id = id, statement = statement(id, granted), former = former, before = before })
    end
    return true
  end

  -- One head: hands to it or lets it leave. Answers the floor for the next.
  local function serve(member, limit, floor)
    local id = id_of(member)
    local owner = string.sub(id, 1, 16)
    if hash['l' .. id] == nil or hash['c' .. owner] == nil then read({ 'l' .. id, 'c' .. owner }) end
    local it = waiter(id)
    if not it then
      set_queue(member, false)
      count_out(limit, member)
      touched = touched + 1
      return floor
    end
    local former = it.terms.name and owner_of(it.terms.name)
    if not live(owner) or (former and not may_go_to(lease(former), it.terms)) then
      leave(id)
      touched = touched + 1
    elseif not ((former or has_room(it.terms)) and hand(id, it, former)) then
      return limit
    end
    return floor
  end

  -- The last grant first, so that a name that went from hand to hand within the round comes back to its first owner.
  local function take_back(parcel)
    for i = #parcel, 1, -1 do
      local one = parcel[i]
      local it = lease(one.id)
      if it and one.former then
        forget(one.id)
        set_end(one.id, false)
        set_lease(one.former, one.before)
      elseif it then
        remove_lease(one.id, it)
      end
    end
  end

  -- Whether nobody received it: then the session is gone.
  local function publish(parcel)
    local statements = {}
    for i = 1, #parcel do statements[i] = parcel[i].statement end
    local heard = tell(parcel.owner, g.epoch .. ' ' .. #parcel .. ' ' .. table.concat(statements, ' ') .. ' ' .. GROUP)
    if not heard then push_refused = true end
    if heard ~= 0 or FLAGS >= 4 then return false end
    lose(parcel.owner)
    take_back(parcel)
    return true
  end

  local gone
  repeat
    local floor = 0
    parcels, gone = {}, false
    while true do
      if touched >= BUDGET then
        again = true
        break
      end
      local member, limit = best_head(floor)
      if not member then break end
      floor = serve(member, limit, floor)
    end
    if #parcels > 0 then flush() end
    for i = 1, #parcels do gone = publish(parcels[i]) or gone end
  until not gone
end
