-- release: give back, then hand off; nothing is reaped (R13, R17, R25).
--
-- ARGV   number of items, then for each: l and a lease id, t and a lease id and its token, or n and a holder name
-- ANSWER 1 released · 0 gone
if is_asked('release') then piece(function()
  local function fields(at)
    local many = whole[ARGS[at]] or number(ARGS[at])
    for i = 1, many do
      local target = ARGS[at + i]
      wanted[many_wanted + i] = byte(target) == 116 and 'l' .. match(target, '^t(%S+)') or target
    end
    many_wanted = many_wanted + many
    return at + many + 1
  end

  local function released(target)
    local kind, field, token = byte(target), target, nil
    if kind == 110 then
      field = owner_of(sub(target, 2))
    elseif kind == 116 then
      field, token = match(target, '^t(%S+) (%d+)$')
      field = 'l' .. field
    end
    local it = field and lease(field)
    if not it or (token and it.token ~= token) then return '0' end
    remove_lease(it)
    local owner = it.owner
    if owner ~= SESSION then
      -- Whoever takes a lease from another session has it told (R36).
      if not tell(CHANNEL, owner, g.epoch .. ' gone ' .. it.id .. ' ' .. GROUP) then push_refused = true end
    end
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
    if hand_off() then written = turn end
    return reply(answers, false)
  end }
end) end
