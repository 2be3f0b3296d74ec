-- layouts: what is stored as text, each layout read and written here alone.
--
-- state    1 epoch held leases top limit token latest expire made- mend- gen ticket, then limit:count of each class
-- terms    limit weight priority lease claim max-waiting NAME-AND-LABEL            (max-waiting -1: none)
-- lease    H end token limit slots NAME-AND-LABEL                                  (slots: runs, 1-3,7)
-- waiter   W ticket generation terms
-- session  deadline connection listens count guard generation
-- introduction  end IDENTITY                                                       (as the session says it)
-- member   of the queue: priority (two digits, higher first), ticket (16 digits), lease id; its score is the limit
-- NAME-AND-LABEL: length length bytes                                              (length -1: none)
--
-- Figures that are mostly only passed on stay the texts they were.
local no_state, state_of, state_text, terms_of, slots_of, slots_text
local new_lease_record, lease_of, lease_until, lease_passed, tail_of, new_waiter, waiter_of
local new_session, session_of, session_text
local introduction_of, introduction_text, member_of, id_of, id_in, session_of_id, priority_of, statement_text

piece(function()
  function no_state()
    return { held = 0, leases = 0, top = 0, limit = '0', token = 0, token_text = '0', latest = 0, latest_text = '0',
      expire = 0, expire_text = '0', made = '', mend = '', gen = '0', ticket = 0, ticket_text = '0',
      classes = {}, counts = {}, waiting = 0 }
  end

  -- nil when it's of another version. classes: limits, ascending; counts: waiters of each; waiting: all of them.
  function state_of(text)
    local epoch, held, leases, top, limit, token, latest, expire, made, mend, gen, ticket, line = match(text,
      '^1 (%x+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%l*)%- ([%d:]*)%- (%d+) (%d+)(.*)$')
    if not epoch then return nil end
    local classes, counts, waiting = {}, {}, 0
    if line ~= '' then
      for class, count in gmatch(line, '(%d+):(%d+)') do
        class, count = class + 0, count + 0
        classes[#classes + 1], counts[class], waiting = class, count, waiting + count
      end
    end
    return { text = text, epoch = epoch, held = held + 0, leases = leases + 0, top = top + 0, limit = limit,
      token = token + 0, token_text = token, latest = latest + 0, latest_text = latest, expire = expire + 0,
      expire_text = expire, made = made, mend = mend, gen = gen, ticket = ticket + 0, ticket_text = ticket,
      classes = classes, counts = counts, waiting = waiting }
  end

  function state_text(g)
    local held, leases, top = g.held, g.leases, g.top
    local text = '1 ' .. g.epoch .. ' ' .. (digits[held] or num(held)) .. ' ' .. (digits[leases] or num(leases)) .. ' '
      .. (digits[top] or num(top)) .. ' ' .. g.limit .. ' ' .. g.token_text .. ' ' .. g.latest_text .. ' '
      .. g.expire_text .. ' ' .. g.made .. '- ' .. g.mend .. '- ' .. g.gen .. ' ' .. g.ticket_text
    if g.waiting == 0 then return text end
    local classes, counts = g.classes, g.counts
    for i = 1, #classes do text = text .. ' ' .. num(classes[i]) .. ':' .. num(counts[classes[i]]) end
    return text
  end

  -- The bytes of a name, out of NAME-AND-LABEL.
  local function name_of(tail)
    local length, at = match(tail, '^(%-?%d+) %-?%d+ ()')
    if length == '-1' then return nil end
    return sub(tail, at, at + length - 1)
  end

  terms_of = kept(function(text)
    local limit, weight, priority, lease, claim, most, tail =
      match(text, '^(%d+) (%d+) (%-?%d+) (%d+) (%d+) (%-?%d+) (.*)$')
    return { text = text, limit = tonumber(limit), limit_text = limit, weight = tonumber(weight),
      priority = tonumber(priority), rank = format('%02d', 10 - priority), lease = lease, claim = claim,
      max = tonumber(most), tail = tail, name = name_of(tail) }, #text > 500
  end)

  -- Not to be changed by whoever gets them; `fields` are those that say who has the slots.
  slots_of = kept(function(text)
    local slots, fields = {}, {}
    for lo, hi in gmatch(text, '(%d+)%-?(%d*)') do
      for slot = tonumber(lo), tonumber(hi) or tonumber(lo) do slots[#slots + 1] = slot end
    end
    for i = 1, #slots do fields[i] = 's' .. num(slots[i]) end
    slots.fields = fields
    return slots, #slots > 16
  end)

  -- Of ascending slots.
  function slots_text(slots)
    local runs, i = {}, 1
    while i <= #slots do
      local j = i
      while slots[j + 1] == slots[j] + 1 do j = j + 1 end
      runs[#runs + 1] = i == j and num(slots[i]) or num(slots[i]) .. '-' .. num(slots[j])
      i = j + 1
    end
    return concat(runs, ',')
  end

  -- owner: its session. turn: see group.
  function new_lease_record(id, owner, field, at_end, token, limit, slots, tail, name)
    local it = { id = id, owner = owner, field = field, at_end = at_end, token = token, slots = slots, turn = 0,
      text = 'H ' .. at_end .. ' ' .. token .. ' ' .. limit .. ' ' .. slots .. ' ' .. tail }
    if name then it.name = name end
    return it
  end

  -- nil when it's a waiter's.
  function lease_of(field, text)
    local at_end, token, slots, tail = match(text, '^H (%d+) (%d+) %d+ (%S+) (.*)$')
    if not at_end then return nil end
    local id = id_in(field)
    local it = { id = id, owner = session_of_id(id), field = field, at_end = at_end, token = token, slots = slots,
      turn = 0, text = text }
    if byte(tail) ~= 45 then it.name = name_of(tail) end
    return it
  end

  function lease_until(it, at_end)
    local text = 'H ' .. at_end .. sub(it.text, 3 + #it.at_end)
    return { id = it.id, owner = it.owner, field = it.field, at_end = at_end, token = it.token, slots = it.slots,
      name = it.name, turn = 0, text = text }
  end

  function lease_passed(it, token, tail)
    local limit, slots = match(it.text, '^H %d+ %d+ (%d+) (%S+)')
    local text = 'H ' .. it.at_end .. ' ' .. token .. ' ' .. limit .. ' ' .. slots .. ' ' .. tail
    local passed = lease_of(it.field, text)
    passed.turn = it.turn
    return passed
  end

  -- NAME-AND-LABEL of a lease.
  function tail_of(it)
    return match(it.text, '^H %d+ %d+ %d+ %S+ (.*)$')
  end

  function new_waiter(id, owner, field, ticket, gen, terms)
    return { id = id, owner = owner, field = field, ticket = ticket, gen = gen, terms = terms, turn = 0,
      text = 'W ' .. ticket .. ' ' .. gen .. ' ' .. terms.text }
  end

  function waiter_of(field, text)
    local ticket, gen, terms = match(text, '^W (%d+) (%d+) (.*)$')
    local id = id_in(field)
    return new_waiter(id, session_of_id(id), field, ticket, gen, terms_of(terms))
  end

  -- One that hasn't shown yet that it lives. changed: by this command.
  function new_session(field, connection)
    return { field = field, deadline = '0', live = false, connection = connection, listens = false, count = 0,
      guard = '0', changed = false }
  end

  -- false when neither a waiter nor its guard keeps it.
  function session_of(field, text, gen, now)
    local deadline, connection, listens, count, guard, its_gen = match(text, '^(%d+) (%d+) (%d) (%d+) (%d+) (%d+)$')
    count = its_gen == gen and count + 0 or 0
    if count == 0 and guard + 0 <= now then return false end
    return { field = field, deadline = deadline, live = deadline + 0 > now, connection = connection,
      listens = listens == '1', count = count, guard = guard, changed = false }
  end

  function session_text(it, gen)
    return it.deadline .. ' ' .. it.connection .. (it.listens and ' 1 ' or ' 0 ') .. num(it.count) .. ' ' .. it.guard
      .. ' ' .. gen
  end

  -- nil when it has passed.
  function introduction_of(text, now)
    local at_end, identity = match(text, '^(%d+) (.*)$')
    return tonumber(at_end) > now and identity or nil
  end

  function introduction_text(at_end, identity)
    return at_end .. ' ' .. identity
  end

  function member_of(id, ticket, terms)
    if #ticket < 16 then ticket = format('%016d', ticket) end
    return terms.rank .. ticket .. id
  end

  function id_of(member)
    return sub(member, 19)
  end

  -- Out of the field of its record.
  function id_in(field)
    return sub(field, 2)
  end

  function session_of_id(id)
    return sub(id, 1, 16)
  end

  function priority_of(member)
    return 10 - tonumber(sub(member, 1, 2))
  end

  -- A grant as replies and pushes state it.
  function statement_text(id, token, at_end, ttl, slots)
    return id .. ' ' .. token .. ' ' .. at_end .. ' ' .. ttl .. ' ' .. slots
  end
end)
