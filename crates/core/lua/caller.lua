-- caller: who calls, the same for all that a command carries out; its clock and its budget.
--
-- KEYS  of each group: 1 group (hash)  2 ends  3 gaps  4 queue (sorted sets)
-- ARGV  1 session  2 connection number  3 flags: 1 listens + 2 settling + 4 cluster
--       4 keep-alive, ms  5 epoch for a new state  6 channel prefix  7… see entry
local ARGS, SESSION, CONNECTION, KEEP_ALIVE, EPOCH, CHANNEL, LISTENS, SETTLING, CLUSTER
local now, now_us, now_text, now_us_text -- in ms, in µs; the last may be unknown
local touched -- what the command has used of its budget (R26)
local caller, end_of

piece(function()
  local length, its_end, its_text -- the last length that was asked for, and when that ends
  local flags_text -- of the call before

  function caller(args)
    ARGS, SESSION, CONNECTION, KEEP_ALIVE, EPOCH, CHANNEL = args, args[1], args[2], args[4], args[5], args[6]
    if args[3] ~= flags_text then
      flags_text = args[3]
      local flags = tonumber(flags_text)
      LISTENS, SETTLING, CLUSTER = flags % 2 == 1, flags % 4 >= 2, flags >= 4
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
