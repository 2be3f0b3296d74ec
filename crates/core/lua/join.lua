-- join: requests that have waited in the caller's process join the line in their order there (R38).
--
-- ARGV   the number of the note under which they waited · number of runs of items on the same terms, then for each:
--        how many · terms · for each: its id · its ticket
-- ANSWER as to acquire: granted STATEMENT · queued ticket ahead · limits
if is_asked('join') then piece(function()
  local function fields(at)
    local run = at + 2
    for _ = 1, tonumber(ARGS[at + 1]) do
      local many = tonumber(ARGS[run])
      for i = 1, many do wanted[many_wanted + i] = 'l' .. ARGS[run + 2 * i] end
      many_wanted, run = many_wanted + many, run + 2 + 2 * many
    end
    many_wanted = many_wanted + 1
    wanted[many_wanted] = 'sole'
    return run
  end

  verbs.join = { fields = fields, acquires = true, writes = true, carry_out = function(at, place)
    make()
    local number, run, answers, joined, limits = ARGS[at], at + 2, {}, {}, {}
    for _ = 1, tonumber(ARGS[at + 1]) do
      local many, terms = tonumber(ARGS[run]), terms_of(ARGS[run + 1])
      g.limit = terms.limit_text
      limits[#limits + 1] = terms.limit_text
      for i = 1, many do
        local id, n = ARGS[run + 2 * i], #answers + 1
        local same = hash['l' .. id] and known_answer(id, 'l' .. id)
        if same then
          answers[n] = same
        elseif not line_takes(terms.limit) then
          answers[n] = 'limits'
        else
          local ahead, ticket = num(g.waiting), note_place(number, ARGS[run + 2 * i + 1])
          answers[n] = 'queued ' .. join(id, 'l' .. id, terms, ticket) .. ' ' .. ahead
          joined[n] = true
        end
      end
      run = run + 2 + 2 * many
    end
    note_heard(number)
    if next(joined) then
      reap()
      hand_off_to(joined, answers, #answers, place)
    end
    note_after(limits, answers, #answers)
    return reply(concat(answers, ' '), true)
  end }
end) end
