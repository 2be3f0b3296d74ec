-- leave: take waiters out of the line, in one step that says who had just been granted; then hand off (R17, R23).
--
-- ARGV   number of items, then their ids
-- ANSWER left · granted STATEMENT
-- ADDS   slots held · requests in line · time to the earliest end, ms, or -1: all before anybody left
if is_asked('leave') then piece(function()
  local function fields(at)
    local many = number(ARGS[at])
    for i = 1, many do wanted[many_wanted + i] = 'l' .. ARGS[at + i] end
    many_wanted = many_wanted + many
    return at + many + 1
  end

  local function left(id)
    local field = 'l' .. id
    local it = lease(field)
    if it then return 'granted ' .. statement(id, it) end
    it = waiter(field)
    if it then leave(it) end
    return 'left'
  end

  verbs.leave = { fields = fields, writes = true, carry_out = function(at)
    local in_ms, many, answers = next_end(), number(ARGS[at]), {}
    local before = num(g.held) .. ' ' .. num(g.waiting) .. ' ' .. (in_ms and num(in_ms) or '-1')
    for i = 1, many do answers[i] = left(ARGS[at + i]) end
    hand_off()
    answers[many + 1] = before
    return reply(concat(answers, ' '), false)
  end }
end) end
