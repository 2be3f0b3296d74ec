-- renew: extend leases, keep the session's waiters in line; also the safety poll (R9, R14, R19, R21, R28).
--
-- ARGV   number of leases, then for each: id · length, ms · n and its holder name; t and the token and NAME-AND-LABEL
--        of who has it by a pass (R36); or nothing
--        then number of waiters, then their ids
-- ANSWER of a lease: its new end, ms · 0 gone · -1 taken over
-- ADDS   the session's count in line · of each waiter: line · granted STATEMENT · unknown
if is_asked('renew') then piece(function()
  local function fields(at)
    local run = at + 1
    for _ = 1, number(ARGS[at]) do
      many_wanted = many_wanted + 1
      wanted[many_wanted] = 'l' .. ARGS[run]
      if byte(ARGS[run + 2]) == 110 then
        many_wanted = many_wanted + 1
        wanted[many_wanted] = ARGS[run + 2]
      end
      run = run + 3
    end
    local many = number(ARGS[run])
    for i = 1, many do wanted[many_wanted + i] = 'l' .. ARGS[run + i] end
    many_wanted = many_wanted + many
    return run + many + 1
  end

  local function renewed(id, length, name)
    local it = lease('l' .. id)
    if it then
      if byte(name) == 116 then it = pass(it, match(name, '^t(%d+) (.*)$')) end
      return extend(id, it, length).at_end
    end
    return byte(name) == 110 and owner_of(sub(name, 2)) and '-1' or '0'
  end

  local function looked_at(id)
    local field = 'l' .. id
    local it = lease(field)
    return it and 'granted ' .. statement(id, it) or waiter(field) and 'line' or 'unknown'
  end

  verbs.renew = { fields = fields, writes = true, carry_out = function(at)
    local leases, answers = number(ARGS[at]), {}
    for i = 1, leases do
      local run = at + 3 * i - 2
      answers[i] = renewed(ARGS[run], ARGS[run + 1], ARGS[run + 2])
    end
    local run = at + 3 * leases + 1
    local waiters, found = number(ARGS[run]), {}
    local its = session(SESSION)
    if its and (its.count > 0 or waiters > 0) then keep_alive() end
    for i = 1, waiters do found[i] = looked_at(ARGS[run + i]) end
    if g.waiting > 0 then
      reap()
      hand_off()
    end
    if waiting_of(SESSION) > 0 then note_polled() end
    answers[leases + 1] = num(waiting_of(SESSION))
    for i = 1, waiters do answers[leases + 1 + i] = found[i] end
    return reply(concat(answers, ' '), true)
  end }
end) end
