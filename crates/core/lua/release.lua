-- release: give back, then hand off; nothing is reaped (R13, R17, R25).
--
-- ARGV   number of items, then for each: i and a lease id, or n and a holder name
-- ANSWER 1 released · 0 gone
piece(function()
  local function fields(at)
    local many = whole[ARGS[at]] or number(ARGS[at])
    for i = 1, many do
      local target = ARGS[at + i]
      wanted[many_wanted + i] = (byte(target) == 105 and 'l' or 'n') .. sub(target, 2)
    end
    many_wanted = many_wanted + many
    return at + many + 1
  end

  local function released(target)
    local id, field = sub(target, 2), nil
    if byte(target) == 110 then id, field = nil, owner_of(id) else field = 'l' .. id end
    local it = field and lease(field)
    if not it then return '0' end
    remove_lease(it, id)
    return '1'
  end

  verbs.release = { fields = fields, writes = true, carry_out = function(at)
    local many, answers = whole[ARGS[at]] or number(ARGS[at]), nil
    if many == 1 then
      answers = released(ARGS[at + 1])
    else
      answers = {}
      for i = 1, many do answers[i] = released(ARGS[at + i]) end
      answers = concat(answers, ' ')
    end
    hand_off()
    return reply(answers, false)
  end }
end)
