-- reconcile: find out about the session's own ids after an unclear outcome; store its connection number (R12, R14,
-- R30).
--
-- ARGV   rank from which on the session's own ids are looked for, or nothing · number of items, then for each one of
--          keep · id · terms · epoch · token · slots · end, ms · length from now, ms, or nothing · the token now
--          want · id · terms · ticket, or nothing
--          drop · id
-- ANSWER held STATEMENT · line ticket · unknown · taken · dropped 1 or 0
-- ADDS   number of own ids, and they · the rank at which to go on, or -1
local guard

if is_asked('reconcile') then piece(function()
  local GUARD = 60000

  -- The caller's connection number is stored and guarded.
  function guard()
    remove_passed()
    local its, at = keep_alive(), now + GUARD
    its.connection = CONNECTION
    if its.guard == num(at) then return nil end -- An earlier call of this command has set it.
    its.guard = num(at)
    latest(at, its.guard)
    set_mark('~' .. SESSION, at)
  end
end) end

if is_asked('reconcile') then piece(function()
  local WORDS = { keep = 9, want = 4, drop = 2 } -- of an item
  local went_back, reaped -- of this call

  local function fields(at)
    local run = at + 2
    for _ = 1, tonumber(ARGS[at + 1]) do
      many_wanted = many_wanted + 1
      wanted[many_wanted] = 'l' .. ARGS[run + 1]
      run = run + WORDS[ARGS[run]]
    end
    many_wanted = many_wanted + 1
    wanted[many_wanted] = 'sole'
    return run
  end

  local function items_of(at)
    local items, run = {}, at + 2
    for i = 1, tonumber(ARGS[at + 1]) do
      local item = { verb = ARGS[run], id = ARGS[run + 1], field = 'l' .. ARGS[run + 1] }
      if item.verb ~= 'drop' then item.terms = terms_of(ARGS[run + 2]) end
      if item.verb == 'want' then item.ticket = tonumber(ARGS[run + 3]) end
      if item.verb == 'keep' then
        item.epoch, item.token_text, item.slots_text = ARGS[run + 3], ARGS[run + 4], ARGS[run + 5]
        item.token, item.slots = tonumber(item.token_text), slots_of(item.slots_text)
        item.at_end = tonumber(ARGS[run + 6])
        item.length = ARGS[run + 7] ~= '' and ARGS[run + 7] or nil
        item.current_text, item.current = ARGS[run + 8], tonumber(ARGS[run + 8])
      end
      items[i], run = item, run + WORDS[item.verb]
    end
    return items
  end

  local function held(id, it, length)
    return 'held ' .. statement(id, extend(id, it, length))
  end

  -- Whether the lease is the one that its session knows: of its grant, or of a pass since that a renewal has told.
  local function is_that(it, item)
    local token = tonumber(it.token)
    return item.token <= token and token <= item.current
  end

  -- Whether the state went back to what it was before one of these grants, as a replica does that is promoted without
  -- the last writes: it is of the same epoch and doesn't know the grant yet, or shows its id as it was before.
  local function has_gone_back(items)
    for i = 1, #items do
      local item = items[i]
      if item.verb == 'keep' and item.epoch == g.epoch and item.at_end > now then
        local it = lease(item.field)
        if item.current > g.token or waiter(item.field) or (it and not is_that(it, item)) then return true end
      end
    end
    return false
  end

  -- Reads at once who has the slots and the names of what is to be kept and isn't there.
  local function find_places(items)
    local slots, names, owners = {}, {}, {}
    for i = 1, #items do
      local item = items[i]
      local it = item.verb == 'keep' and lease(item.field)
      if item.verb == 'keep' and not (it and is_that(it, item)) then
        if not places then
          if many_sets > 0 or many_freed > 0 then flush() end
          places = {}
        end
        item.slot_fields = item.slots.fields
        for j = 1, #item.slot_fields do
          local field = item.slot_fields[j]
          if places[field] == nil then slots[#slots + 1], places[field] = field, false end
        end
        if item.terms.name then names[#names + 1] = 'n' .. item.terms.name end
      end
    end
    for from = 1, #slots, CHUNK do
      local to = min(from + CHUNK - 1, #slots)
      local got = call('HMGET', GROUP, unpack(slots, from, to))
      for i = from, to do places[slots[i]] = got[i - from + 1] end
    end
    read(names)
    for i = 1, #slots do
      if places[slots[i]] then owners[#owners + 1] = 'l' .. places[slots[i]] end
    end
    for i = 1, #names do
      if hash[names[i]] then owners[#owners + 1] = 'l' .. hash[names[i]] end
    end
    read(owners)
  end

  -- Slots and name were free, or taken over, when they were granted: whoever has them by an older grant has ended
  -- since, and only an old snapshot still shows it.
  local function outdate(item)
    local function check(field)
      local it = field and lease(field)
      if it and tonumber(it.token) < item.token then remove_lease(it) end
    end
    for i = 1, #item.slot_fields do
      local id = places[item.slot_fields[i]]
      check(id and 'l' .. id)
    end
    if item.terms.name then check(owner_of(item.terms.name)) end
  end

  local function fits(item)
    return has_room(item.terms) and take_just(item.slots)
  end

  local function drop(item)
    local it = lease(item.field)
    if it then
      remove_lease(it)
      return 'dropped 1'
    end
    it = waiter(item.field)
    if it then leave(it) end
    return 'dropped 0'
  end

  local function keep(item)
    local it, terms = lease(item.field), item.terms
    if it and is_that(it, item) then
      it = pass(it, item.current_text, terms.tail)
      -- Without a length it ends when that was stated last, also in a state that went back to before its renewal.
      return held(item.id, it, item.length or num(max(tonumber(it.at_end), item.at_end) - now))
    end
    drop(item) -- A state from before the grant still has it in line, or has granted it a second time.
    if not item.slot_fields then find_places({ item }) end -- It was there until another item of this call removed it.
    local may_return = (item.epoch ~= g.epoch or SETTLING or went_back) and item.at_end > now
    if may_return then outdate(item) end
    if terms.name and owner_of(terms.name) then return 'taken' end
    if may_return and not fits(item) then
      if not reaped then reap() end
      reaped = true
      may_return = fits(item)
    end
    if not may_return then return 'unknown' end
    if item.current > g.token then g.token, g.token_text = item.current, item.current_text end
    g.held, g.leases = g.held + #item.slots, g.leases + 1
    local at_end = item.length and now + item.length or item.at_end
    it = new_lease_record(item.id, SESSION, item.field, num(at_end), item.current_text, terms.limit_text,
      item.slots_text, terms.tail, terms.name)
    set_lease(it, at_end)
    return 'held ' .. statement(item.id, it)
  end

  local function want(item)
    local it, terms = lease(item.field), item.terms
    if it then return held(item.id, it, terms.lease) end
    it = waiter(item.field)
    if it then return 'line ' .. it.ticket end
    local former = terms.name and owner_of(terms.name)
    if not item.ticket or not line_takes(terms.limit) or (former and not may_go_to(lease(former), terms)) then
      return 'unknown'
    end
    return 'line ' .. join(item.id, item.field, terms, item.ticket)
  end

  -- The session's ids among the leases and waiters of the ranks asked for. While the ends are being mended they don't
  -- show all leases, and the same ranks are to be asked for again.
  local function own_ids(from)
    flush()
    if g.leases > 0 and (g.mend ~= '' or call('ZCOUNT', ENDS, '(0', '(inf') ~= leases_stored) then
      mend()
      flush()
    end
    local found, next_from = {}, from + BUDGET
    local function look_for(key, id_in)
      local members = call('ZRANGEBYSCORE', key, '(0', '(inf', 'LIMIT', from, BUDGET)
      for i = 1, #members do
        local id = id_in(members[i])
        if session_of_id(id) == SESSION then found[#found + 1] = id end
      end
    end
    if g.leases > 0 then look_for(ENDS, function(member) return member end) end
    if g.waiting > 0 then look_for(QUEUE, id_of) end
    local ids = { num(#found) }
    for i = 1, #found do ids[i + 1] = found[i] end
    ids[#ids + 1] = g.mend ~= '' and num(from) or next_from < max(g.leases, g.waiting) and num(next_from) or '-1'
    return concat(ids, ' ')
  end

  local by_verb = { keep = keep, want = want, drop = drop }

  verbs.reconcile = { fields = fields, writes = true, carry_out = function(at)
    if not g.epoch and ARGS[at + 1] == '0' then return reply('0 -1', false) end
    make()
    local items, answers, from = items_of(at), {}, ARGS[at]
    find_places(items)
    went_back, reaped = has_gone_back(items), false
    guard()
    if went_back then g.epoch = EPOCH end
    for i = 1, #items do answers[i] = by_verb[items[i].verb](items[i]) end
    if g.waiting > 0 then
      reap()
      hand_off()
    end
    note_reconciled(items, answers)
    answers[#answers + 1] = from == '' and '0 -1' or own_ids(tonumber(from))
    return reply(concat(answers, ' '), true)
  end }
end) end
