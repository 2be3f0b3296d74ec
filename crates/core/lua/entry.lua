-- entry: a command carries out calls, group by group, each as if it came alone, on one clock and one budget.
--
-- ARGV   3… of each group: how many calls, then for each: its verb, and what the head of that verb's file says
-- REPLY  what the call answers; where there isn't one call but several or none, a list of that. A call that wasn't
--        carried out answers a word and what was wrong: stale · wrongtype · version · failed: nothing is known then of
--        the calls of that group
return piece(function()
  local asked, starts, skips = {}, {}, {} -- of the group's calls: verb, start in ARGS, fields wanted before
  local replies = {} -- used again in each command
  local acquires, writes -- whether one of them asks for something new, or changes anything

  local function find_calls(many, at)
    local args = ARGS
    many_wanted, acquires, writes = 2, false, false
    for i = 1, many do
      local verb = verbs[args[at]] or introducing(args[at])
      at = at + 1
      asked[i], starts[i], skips[i] = verb, at, many_wanted
      if verb.acquires then acquires = true end
      if verb.writes then writes = true end
      at = verb.fields(at)
    end
    return at
  end

  -- Outside of a library, memory is looked at with the first write alone: what asks for something new begins with one
  -- that is refused then, what must go on with one that isn't (R24, R25).
  local function first_write()
    if acquires then call('HSET', GROUP, 'state', g.text) else call('PEXPIREAT', GROUP, g.expire_text) end
  end

  -- Whether the caller's connection is a former one (R12): the number that is stored counts while the session waits, or
  -- until its guard. What the command itself has stored is the caller's own.
  local function is_stale()
    return (own.count > 0 or own.guard + 0 > now) and own.connection + 0 > CONNECTION + 0
  end

  local function serve(keys, first, many, n)
    local refused = look(keys, first)
    if refused then
      for i = 1, many do replies[n + i] = refused end
      return nil
    end
    local first_writes = writes and g.epoch and not IS_LIBRARY
    for i = 1, many do
      local verb = asked[i]
      if own and not verb.anyone and is_stale() then
        replies[n + i] = 'stale'
      else
        if first_writes and verb.writes then first_writes = first_write() end
        again, push_refused, many_handed, written = false, false, 0, nil
        replies[n + i] = verb.carry_out(starts[i], skips[i])
      end
    end
    if writes then
      if written ~= turn then flush() end
      remember()
    end
  end

  local function carry_out(keys, args)
    if #keys == 0 then return {} end -- Whether the library is there was all that was asked.
    if not call then learn() end
    caller(args)
    local n, at = 0, 3
    for first = 1, #keys, 4 do
      local many = whole[args[at]] or number(args[at])
      at = find_calls(many, at + 1)
      if #keys == 4 then
        serve(keys, first, many, n)
      else
        local done, why = pcall(serve, keys, first, many, n)
        for i = 1, done and 0 or many do
          replies[n + i] = 'failed ' .. (type(why) == 'table' and why.err or tostring(why))
        end
      end
      n = n + many
    end
    if n == 1 then return replies[1] end
    for i = n + 1, #replies do replies[i] = nil end
    return replies
  end

  if IS_LIBRARY then
    redis.register_function({ function_name = '$NAME', callback = carry_out })
    redis.register_function({ function_name = '$NAME_allow_oom', callback = carry_out, flags = { 'allow-oom' } })
    redis.register_function({ function_name = '$NAME_no_writes', callback = carry_out, flags = { 'no-writes' } })
  else
    return carry_out(KEYS, ARGV)
  end
end)
