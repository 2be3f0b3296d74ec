-- release: give back, then hand off; nothing is reaped (R13, R17, R25).
--
-- ARGV   number of items, then for each: i and a lease id, or n and a holder name
-- ANSWER 1 released · 0 gone
piece(function()
  local function fields(at)
    local many = tonumber(ARGS[at])
    for i = 1, many do
      local target = ARGS[at + i]
      wanted[many_wanted + i] = (byte(target) == 105 and 'l' or 'n') .. sub(target, 2)
    end
    many_wanted = many_wanted + many
    return at + many + 1
  end

  local function released(target)
    local id = sub(target, 2)
    if byte(target) == 110 then id = owner_of(id) end
    local it = id and lease(id)
    if not it then return '0' end
    remove_lease(id, it)
    return '1'
  end

  verbs.release = { fields = fields, writes = true, carry_out = function(at)
    local many, answers = tonumber(ARGS[at]), nil
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
