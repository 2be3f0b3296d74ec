-- reply: what a call answers (R9, R17, R22): one text, a space between.
--
-- ok · now, ms · epoch, or - without state · time to the earliest end, ms, or -1 · 1 again + 2 push refused
-- · number of grants to the caller's own waiters, and they · answers · what the verb adds
local reply
-- By name; fields(at) adds what the call reads and answers where the next one begins, carry_out(at) answers its reply.
local verbs = {}

piece(function()
  local FLAGS = { [0] = ' 0 ', ' 1 ', ' 2 ', ' 3 ' }

  -- answers: a text. says_next_end: if the caller's session waits.
  function reply(answers, says_next_end)
    local in_ms
    if says_next_end and own and own.count > 0 then
      local before = turn
      in_ms = next_end()
      if turn ~= before then written = turn end -- Nothing is changed from here on.
    end
    in_ms = in_ms and num(in_ms) or '-1'
    local flags = FLAGS[(again and 1 or 0) + (push_refused and 2 or 0)]
    local said = '0 '
    if many_handed > 0 then said = num(many_handed) .. ' ' .. concat(grants, ' ', 1, many_handed) .. ' ' end
    return 'ok ' .. now_text .. ' ' .. (g.epoch or '-') .. ' ' .. in_ms .. flags .. said .. answers
  end
end)
