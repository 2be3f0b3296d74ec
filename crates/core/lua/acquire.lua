-- acquire: grant now, join the line, or refuse (R1–R6, R11, R16, R25).
--
-- ARGV   number of runs of items on the same terms, then for each: how many, less than 0 if they don't wait · terms
--        · their ids
-- ANSWER granted STATEMENT · queued ticket ahead · full held waiting next-end · queue-full waiting · limits
--        · mismatch weight highest
local known_answer, hand_off_to, note_after -- see also join

if is_asked('acquire') or is_asked('join') then piece(function()
  local looked_through -- whether this call has looked for dead waiters
  local recalls -- whether slots that another session keeps come back, once this call has looked for it
  local answers = {} -- used again in each call
  local joined = {} -- which of the answers say that a request has joined; used again in each call
  local limits, unserved -- those that aren't the one last asked with; whether somebody isn't granted anything

  local function full()
    local in_ms = next_end()
    return 'full ' .. num(g.held) .. ' ' .. num(g.waiting) .. ' ' .. (in_ms and num(in_ms) or '-1')
  end

  -- The same request again gets the same answer.
  function known_answer(id, field)
    local it = lease(field)
    if not it then
      it = waiter(field)
      return it and 'queued ' .. it.ticket .. ' ' .. num(g.waiting - 1)
    end
    if tonumber(it.at_end) > now then return 'granted ' .. statement(id, it) end
    remove_lease(it)
  end

  local function by_name(id, field, terms)
    local former = owner_of(terms.name)
    if not former then return nil end
    local it = lease(former)
    if tonumber(it.at_end) <= now then
      remove_lease(it)
    elseif not may_go_to(it, terms) then
      local slots = slots_of(it.slots)
      return 'mismatch ' .. num(#slots) .. ' ' .. num(slots[#slots])
    else
      return 'granted ' .. take_over(former, id, SESSION, field, terms, terms.lease)
    end
  end

  -- The sessions of these members that weren't looked at before: those that are gone are noted. Answers how many
  -- waiters the others have.
  local function look_at(members, seen)
    local owners, fields, count = {}, {}, 0
    for i = 1, #members do
      local _, owner = whose(members[i])
      if owner ~= '' and seen[owner] == nil then
        seen[owner] = 'lives'
        owners[#owners + 1], fields[#fields + 1] = owner, 'c' .. owner
      end
    end
    read(fields)
    for i = 1, #owners do
      if live(owners[i]) then count = count + waiting_of(owners[i]) else seen[owners[i]] = 'gone' end
    end
    return count
  end

  -- Waiters of dead sessions at the front leave. Mostly few sessions have all the waiters, often the caller's has: once
  -- as many are accounted for as wait, nobody else is looked for.
  local function look_through_line()
    if many_joins > 0 or many_leaves > 0 then flush() end
    local lives = live(SESSION)
    local seen, accounted, all, to = {}, lives and waiting_of(SESSION) or 0, {}, 20
    if lives then seen[SESSION] = 'lives' end
    while accounted < g.waiting and #all < BUDGET do
      local members = call('ZRANGE', QUEUE, #all, to - 1)
      accounted = accounted + look_at(members, seen)
      for i = 1, #members do all[#all + 1] = members[i] end
      if #all < to then break end
      to = BUDGET
    end
    local fields = {}
    for i = 1, #all do
      local _, owner, field = whose(all[i])
      if seen[owner] == 'gone' then fields[#fields + 1] = field end
    end
    read(fields)
    for i = 1, #fields do
      local it = waiter(fields[i])
      if it then leave(it) end
    end
  end

  -- Whether as many wait as the request allows.
  local function line_is_full(most)
    if most < 0 or g.waiting < most then return false end
    if not looked_through and g.waiting > 0 then look_through_line() end
    looked_through = true
    return g.waiting >= most
  end

  -- The answer, and whether it has joined. behind: whether one on the same terms has joined before it in this call.
  local function answer(id, field, waits, terms, behind)
    local same = hash[field] and known_answer(id, field) or terms.name and by_name(id, field, terms)
    if same then
      unserved = unserved or byte(same) ~= 103
      return same
    end
    if not behind and has_room(terms) and (g.waiting == 0 or not stands_before(terms.limit, terms.priority)) then
      local said = grant(id, field, terms, terms.lease)
      if said then return 'granted ' .. said end
    end
    unserved = true
    local refused = not waits or line_is_full(terms.max)
    if refused and line_takes(terms.limit) and recalls == nil then recalls = note_recalls() end
    if refused and not (line_takes(terms.limit) and recalls) then
      return waits and 'queue-full ' .. num(g.waiting) or full()
    end
    if not line_takes(terms.limit) then return 'limits' end
    local ahead, ticket = num(g.waiting), g.ticket + 1
    ticket = join(id, field, terms, ticket < now_us and now_us or ticket)
    return 'queued ' .. ticket .. ' ' .. ahead, true
  end

  -- What has joined and is handed something all the same is answered by that. place: of the call's fields in `wanted`.
  function hand_off_to(joined, answers, many, place)
    local before, last = many_handed, many_handed
    hand_off()
    if many_handed == before then return nil end
    local places = {}
    for i = 1, many do
      if joined[i] then places[wanted[place + i]] = i end
    end
    for i = before + 1, many_handed do
      local place = places['l' .. handed[i]]
      if place then
        answers[place] = 'granted ' .. grants[i]
      else
        last = last + 1
        handed[last], grants[last] = handed[i], grants[i]
      end
    end
    many_handed = last
  end

  -- What these answers are to the note; those: the limits that were asked for.
  function note_after(those, answers, many)
    local first, all = nil, true
    for i = 1, many do
      local word, ticket = match(answers[i], '^(%a+)%S* ?(%d*)')
      if word ~= 'granted' then all = false end
      if word == 'queued' then first = min(first or huge, tonumber(ticket)) end
    end
    note_asked(those, not all, first)
  end

  -- By places in ARGS: of a call the lowest limit and the sum of the weights; of a run, how many and their terms.
  local lowest, weights, count_of, terms_at = {}, {}, {}, {}

  local function fields(at)
    local args, run, least, all, n = ARGS, at + 1, huge, 0, many_wanted
    for _ = 1, whole[args[at]] or number(args[at]) do
      local many, terms = whole[args[run]] or number(args[run]), terms_of(args[run + 1])
      count_of[run], terms_at[run] = many, terms
      if many < 0 then many = -many end
      if terms.limit < least then least = terms.limit end
      run = run + 1
      for i = 1, many do wanted[n + i] = 'l' .. args[run + i] end
      n, all, run = n + many, all + many * terms.weight, run + 1 + many
    end
    many_wanted, lowest[at], weights[at] = n, least, all
    return run
  end

  verbs.acquire = { fields = fields, acquires = true, writes = true, carry_out = function(at, place)
    make()
    if g.waiting > 0 or g.held + weights[at] > lowest[at] then
      reap()
      hand_off()
    end
    looked_through, recalls, limits, unserved = false, nil, nil, false
    local args, n, run, some_joined = ARGS, 0, at + 1, false
    for _ = 1, whole[args[at]] or number(args[at]) do
      local many, terms = count_of[run], terms_at[run]
      local waits, behind = many > 0, false
      if many < 0 then many = -many end
      if g.limit ~= terms.limit_text then
        g.limit, limits = terms.limit_text, limits or {}
        limits[#limits + 1] = g.limit
      end
      run = run + 1
      for i = 1, many do
        n = n + 1
        answers[n], joined[n] = answer(args[run + i], wanted[place + n], waits, terms, behind)
        behind = behind or joined[n]
      end
      some_joined, run = some_joined or behind, run + 1 + many
    end
    if some_joined then hand_off_to(joined, answers, n, place) end
    if (unserved or limits) and g.unnoted ~= GROUP then note_after(limits or {}, answers, n) end
    return reply(n == 1 and answers[1] or concat(answers, ' ', 1, n), true)
  end }
end) end
