-- changes: what a command changes, gathered and written in few commands: removals first (R25), then what makes a grant
-- stand. What is removed is written before what is set, so whoever removes what this command has set writes it first.
local set_field, drop_field, set_end, move_end, drop_end, set_mark, drop_mark, add, unmake, make, flush
local write_gaps -- see gaps

piece(function()
  function set_field(field, text)
    hash[field] = text
    sets[many_sets + 1], sets[many_sets + 2], many_sets = field, text, many_sets + 2
  end

  function drop_field(field)
    hash[field] = false
    many_dels = many_dels + 1
    dels[many_dels] = field
  end

  -- at: a number and its text.
  function set_end(id, at, at_text)
    local n = many_new_ends
    new_ends[n + 1], new_ends[n + 2] = at_text, id
    many_new_ends = n + 2
    if at <= now then ended_at_once = true end
    if earliest ~= nil and (not earliest or at < earliest) then earliest = at end
  end

  local function was_earliest(at_text)
    return at_text + 0 <= earliest
  end

  function move_end(id, from_text, at, at_text)
    if earliest and was_earliest(from_text) then earliest = nil end
    set_end(id, at, at_text)
  end

  function drop_end(id, at_text)
    if earliest and was_earliest(at_text) then earliest = nil end
    many_old_ends = many_old_ends + 1
    old_ends[many_old_ends] = id
  end

  -- The ends of guards (R12) and introductions (R40) are among those of leases, with scores that no lease has.
  function set_mark(member, at)
    new_ends[many_new_ends + 1], new_ends[many_new_ends + 2], many_new_ends = num(-at), member, many_new_ends + 2
  end

  function drop_mark(member)
    many_old_ends = many_old_ends + 1
    old_ends[many_old_ends] = member
  end

  -- Answers the sum of the replies.
  local function write(command, key, list, many)
    if many == 1 then return call(command, key, list[1]) end
    if many == 2 then return call(command, key, list[1], list[2]) end
    if many == 4 then return call(command, key, list[1], list[2], list[3], list[4]) end
    if many <= CHUNK then return call(command, key, unpack(list, 1, many)) end
    local sum = 0
    for from = 1, many, CHUNK do
      local to = min(from + CHUNK - 1, many)
      sum = sum + call(command, key, unpack(list, from, to))
    end
    return sum
  end

  -- What is added mostly ascends. A small sorted set looks for each place from its beginning, so the last goes first.
  local function reverse(list, many)
    local last = many - 1
    for i = 1, many / 2 - 1, 2 do
      list[i], list[last], list[i + 1], list[last + 1] = list[last], list[i], list[last + 1], list[i + 1]
      last = last - 2
    end
  end

  -- Adds to a sorted set. Its sentinel, which keeps it from being empty, goes along each time: it is new in a set that
  -- is made by this, for the first time or after it vanished alone, and such a set has no time to live yet.
  function add(key, letter, list, many)
    if many == 0 then return nil end
    if many > 60 then reverse(list, many) end
    list[many + 1], list[many + 2] = 'inf', '.'
    many = many + 2
    if 2 * write('ZADD', key, list, many) < many then return nil end
    if not find(g.made, letter, 1, true) then g.made = g.made .. letter end
    if g.expire > 0 then call('PEXPIREAT', key, g.expire_text) end
  end

  function unmake(letter)
    g.made = gsub(g.made, letter, '')
  end

  -- Makes the state; sorted sets that outlived their group go.
  function make()
    if g.epoch then return nil end
    g.epoch = EPOCH
    latest(now, now_text)
    if not IS_LIBRARY then call('HSET', GROUP, 'state', state_text(g)) end
    if #outlived > 0 then call('UNLINK', unpack(outlived)) end
  end

  local function gather_sessions()
    for i = 1, many_changed do
      local it = changed_sessions[i]
      it.changed = false
      if it.count == 0 and it.guard + 0 <= now then
        drop_field(it.field)
      else
        sets[many_sets + 1], sets[many_sets + 2], many_sets = it.field, session_text(it, g.gen), many_sets + 2
      end
    end
    many_changed = 0
  end

  -- All keys expire together, RESERVE past whatever ends last; moved only when that has come too near (R8).
  local function move_expiry()
    g.expire = g.latest + RESERVE + SLACK
    g.expire_text = num(g.expire)
  end

  local function set_expiry()
    local keys = { e = ENDS, g = GAPS, q = QUEUE }
    call('PEXPIREAT', GROUP, g.expire_text)
    for letter in gmatch(g.made, '.') do call('PEXPIREAT', keys[letter], g.expire_text) end
  end

  function flush()
    local g = g
    if not g.epoch then return nil end
    if many_changed > 0 then gather_sessions() end
    if line_lost then
      call('UNLINK', QUEUE)
      unmake('q')
      line_lost = false
    end
    for i = 1, many_freed do
      many_dels = many_dels + 1
      dels[many_dels] = 's' .. num(freed[i])
    end
    local moved = g.latest + RESERVE > g.expire
    if moved then move_expiry() end
    if many_old_ends > 0 then
      write('ZREM', ENDS, old_ends, many_old_ends)
      many_old_ends = 0
    end
    if many_leaves > 0 then
      write('ZREM', QUEUE, leaves, many_leaves)
      many_leaves = 0
    end
    if many_dels > 0 then
      write('HDEL', GROUP, dels, many_dels)
      many_dels = 0
    end
    if many_new_ends > 0 then
      add(ENDS, 'e', new_ends, many_new_ends)
      many_new_ends = 0
    end
    if many_joins > 0 then
      add(QUEUE, 'q', joins, many_joins)
      many_joins = 0
    end
    if many_freed > 0 or taken or g.held == 0 then write_gaps() end
    local text = state_text(g)
    if text ~= g.text then
      local n = many_sets
      sets[n + 1], sets[n + 2] = 'state', text
      g.text, many_sets = text, n + 2
    end
    if many_sets > 0 then
      write('HSET', GROUP, sets, many_sets)
      many_sets = 0
    end
    if moved then set_expiry() end
    leases_stored, turn, ended_at_once = g.leases, turn + 1, false
  end
end)
