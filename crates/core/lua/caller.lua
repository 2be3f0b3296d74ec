-- caller: who calls, the same for all that a command carries out; its clock and its budget.
--
-- KEYS  of each group: 1 group (hash)  2 ends  3 gaps  4 queue (sorted sets)
-- ARGV  1 the caller: session, connection number, flags (1 listens + 2 settling + 4 cluster), keep-alive in ms, channel
--       prefix, a space between  2 epoch for a new state  3… see entry
local SESSION_FIELD, KEEP_ALIVE, EPOCH, LISTENS, CLUSTER
local now_us_text -- unknown where the clock doesn't say it
local caller, end_of

piece(function()
  local present -- the text of the caller whose figures these are
  local length, its_end, its_text -- the last length that was asked for, and when that ends

  local caller_of = kept(function(text)
    local session, connection, flags, keep_alive, channel = match(text, '^(%x+) (%d+) (%d) (%d+) (.*)$')
    return { session = session, field = 'c' .. session, connection = connection, keep_alive = keep_alive + 0,
      channel = channel, listens = flags % 2 == 1, settling = flags % 4 >= 2, cluster = flags + 0 >= 4 }, #text > 500
  end)

  function caller(args)
    ARGS, EPOCH = args, args[2]
    if args[1] ~= present then
      local it = caller_of(args[1])
      SESSION, SESSION_FIELD, CONNECTION, KEEP_ALIVE = it.session, it.field, it.connection, it.keep_alive
      CHANNEL, LISTENS, SETTLING, CLUSTER = it.channel, it.listens, it.settling, it.cluster
      present = args[1]
    end
    now_us, now_us_text = clock(args)
    now = (now_us - now_us % 1000) / 1000
    now_text = now_us_text and sub(now_us_text, 1, -4) or num(now)
    touched, length = 0, nil
  end

  -- When what begins now ends, as text and as a number; most of a command's items have the same length.
  function end_of(ms)
    if ms ~= length then
      length, its_end = ms, now + ms
      its_text = num(its_end)
    end
    return its_text, its_end
  end
end)
