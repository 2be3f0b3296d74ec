-- note: one session serves its own requests on one limit from the slots that it has, until somebody else asks
-- (R32, R34, R37, R38, R39).
--
-- sole     of the hash: session limit number begun confirmed ticket heard wanted cool keeps: the last ticket when the
--          note was written · when it was confirmed, ms · the ticket that ended it, 0 as long as it stands · 1 if its
--          session knows · when a note was last wanted, ms · for how long none is written then, ms · 1 if its session
--          keeps slots; - and 0 without a note
--
-- ARGV     limit · the number of the caller's note, or nothing · 1 if the caller keeps slots that nobody holds
-- ANSWER   sole number begun after last: the tokens after one, up to another, are the caller's · wanted ticket · no ms
local note_asked, note_reconciled, note_polled, note_place, note_heard, note_recalls

-- Of these verbs each has to do with the note.
if is_asked('note') or is_asked('acquire') or is_asked('join') or is_asked('renew') or is_asked('reconcile')
then piece(function()
  local LIFE, LEAST_COOL, LONGEST_COOL, RECURS = 3000, 3000, 60000, 600000

  -- The field, read out; false without one. `g.unnoted` is the group in which no note is known to stand, as long as the
  -- state is the same.
  local function stored()
    local text = read_one('sole')
    if not text then return false end
    local session, limit, number, begun, confirmed, ticket, heard, wanted_at, cool, keeps =
      match(text, '^(%S+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d) (%d+) (%d+) ?(%d?)') -- The last word may be missing (R27).
    return { session = session, limit = limit, number = number, begun = begun, confirmed = tonumber(confirmed),
      ticket = ticket, heard = heard, wanted_at = tonumber(wanted_at), cool = tonumber(cool), keeps = keeps == '1' and '1' or '0' }
  end

  local function save(it)
    g.unnoted = nil
    if it.session == '-' and it.cool == 0 then
      flush() -- What is removed must not have been set by this command.
      return drop_field('sole')
    end
    set_field('sole', it.session .. ' ' .. it.limit .. ' ' .. it.number .. ' ' .. it.begun .. ' ' .. num(it.confirmed)
      .. ' ' .. it.ticket .. ' ' .. it.heard .. ' ' .. num(it.wanted_at) .. ' ' .. num(it.cool) .. ' ' .. it.keeps)
  end

  local function drop(it)
    it.session, it.limit, it.number, it.begun, it.confirmed, it.ticket, it.heard = '-', '0', '0', '0', 0, '0', '0'
    it.keeps = '0'
    save(it)
  end

  -- What stands, or isn't known yet to its session.
  local function unheard()
    if g.unnoted == GROUP then return nil end
    local it = stored()
    if it and it.session ~= '-' and (it.ticket == '0' or it.heard == '0') then return it end
    g.unnoted = GROUP
  end

  -- Whether its session is told, as far as that is known.
  local function publish(it)
    local heard = tell(CHANNEL, it.session, g.epoch .. ' wanted ' .. it.number .. ' ' .. it.ticket .. ' ' .. GROUP)
    if not heard then push_refused = true end
    return heard ~= nil and (heard > 0 or CLUSTER)
  end

  local function remembers(it)
    return now < it.wanted_at + LIFE
  end

  -- Ends the note and tells its session; without a ticket the next one is told.
  local function want(it, ticket)
    local recurs = it.cool > 0 and now <= it.wanted_at + RECURS
    it.cool = recurs and min(2 * it.cool, LONGEST_COOL) or LEAST_COOL
    it.wanted_at, it.ticket, it.heard = now, num(ticket or max(g.ticket + 1, now_us)), '0'
    save(it)
    return publish(it)
  end

  -- Whether slots that another session keeps come back now: its note is wanted by this call, and it was told (R39).
  function note_recalls()
    local it = unheard()
    if not it or it.ticket ~= '0' or it.session == SESSION or it.keeps ~= '1' then return false end
    return want(it)
  end

  -- What the answers to a call's items are to the note. unserved: whether one of them isn't a grant; first: the lowest
  -- ticket among them; limits: those that were asked for, as texts.
  function note_asked(limits, unserved, first)
    local it = unheard()
    if not it or it.ticket ~= '0' then return nil end
    local other = false
    for i = 1, #limits do other = other or limits[i] ~= it.limit end
    if it.session == SESSION then
      if other then drop(it) end
    elseif other or unserved then
      want(it, first)
    end
  end

  -- The same of a reconcile call: who has come back into the line, and on which limits leases have.
  function note_reconciled(items, answers)
    local it = unheard()
    if not it or it.ticket ~= '0' then return nil end
    if it.session == SESSION then return drop(it) end
    local other, first = false, nil
    for i = 1, #items do
      local word, ticket = match(answers[i], '^(%a+) (%S+)')
      if word == 'line' then first = min(first or huge, tonumber(ticket)) end
      if word == 'held' and items[i].verb == 'keep' and items[i].terms.limit_text ~= it.limit then other = true end
    end
    if other or first then want(it, first) end
  end

  -- The caller has waiters and looks after them: what a lost push should have told is told again.
  function note_polled()
    local it = unheard()
    if not it or it.session == SESSION then return nil end
    if it.ticket == '0' then return want(it) end
    if remembers(it) then publish(it) end
  end

  -- The ticket of a request that has waited in the caller's process under its note of this number.
  function note_place(number, ticket)
    local it = stored()
    local at = tonumber(ticket)
    if it and it.session == SESSION and it.number == number and remembers(it)
      and tonumber(it.begun) < at and at < tonumber(it.ticket) then
      return at
    end
    return max(g.ticket + 1, now_us)
  end

  function note_heard(number)
    local it = stored()
    if not it or it.session ~= SESSION or it.number ~= number or it.ticket == '0' or it.heard == '1' then return nil end
    it.heard = '1'
    save(it)
  end

  -- Whether nobody but the caller has asked for anything on another limit, or waits.
  local function may_be_noted(limit)
    if not g.epoch or not LISTENS or SETTLING or g.limit ~= limit or g.held > tonumber(limit) then return false end
    if g.waiting ~= waiting_of(SESSION) then return false end
    return g.waiting == 0 or g.counts[tonumber(limit)] == g.waiting
  end

  local function wait_of(it)
    local in_ms = max(it.wanted_at + it.cool - now, 0)
    if it.session ~= '-' and it.session ~= SESSION and it.ticket == '0' then
      in_ms = max(in_ms, it.confirmed + LIFE - now)
    end
    return in_ms
  end

  local function raise_token(token)
    if token > g.token then g.token, g.token_text = token, num(token) end
  end

  local function written(it, limit, keeps)
    raise_token(max(g.token + 1, now_us))
    it.session, it.limit, it.number, it.begun = SESSION, limit, g.token_text, g.ticket_text
    it.confirmed, it.ticket, it.heard, it.keeps = now, '0', '0', keeps
    save(it)
    return 'sole ' .. it.number .. ' ' .. it.begun .. ' ' .. it.number .. ' ' .. it.number
  end

  local function noted(limit, number, keeps)
    local it = stored() or { session = '-', limit = '0', number = '0', begun = '0', confirmed = 0, ticket = '0',
      heard = '0', wanted_at = 0, cool = 0, keeps = '0' }
    local in_ms, may = wait_of(it), may_be_noted(limit)
    local no = 'no ' .. num(in_ms)
    if number == '' then return may and in_ms == 0 and written(it, limit, keeps) or no end
    if it.session ~= SESSION or it.number ~= number then return no end
    if it.ticket ~= '0' then
      note_heard(number)
      return remembers(it) and 'wanted ' .. it.ticket or no
    end
    if not may or it.limit ~= limit then
      drop(it)
      return no
    end
    local after = g.token_text
    raise_token(now_us)
    it.confirmed, it.keeps = now, keeps
    save(it)
    return 'sole ' .. it.number .. ' ' .. it.begun .. ' ' .. after .. ' ' .. g.token_text
  end

  local function fields(at)
    many_wanted = many_wanted + 1
    wanted[many_wanted] = 'sole'
    return at + 3
  end

  verbs.note = { fields = fields, writes = true, carry_out = function(at)
    return reply(noted(ARGS[at], ARGS[at + 1], ARGS[at + 2]), false)
  end }
end) end
