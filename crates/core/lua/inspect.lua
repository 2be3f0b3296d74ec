-- inspect: a read-only picture of a group for people, one page; writes nothing (R26).
--
-- ARGV   slots up to this one have been shown · so many waiters have been shown
-- ANSWER number of holders, of each: id token ends-in slots NAME-AND-LABEL
-- ADDS   limit · held · waiting · number of waiters, of each: id ticket limit weight priority NAME-AND-LABEL
--        · next slot, or -1 after the last page · next waiter
--        · number of their sessions that said who they are, of each: session IDENTITY
--
-- A lease is shown whole, on the page of its lowest slot; one that has ended isn't shown, and its slots aren't counted.
if is_asked('inspect') then piece(function()
  local SCAN = 2000

  local function fields(at)
    return at + 2
  end

  -- Who has the slots of these numbers, with the slots; their leases are read.
  local function owners_of(from, to)
    local fields, ids, leases = {}, {}, {}
    for slot = from, to do fields[#fields + 1] = 's' .. num(slot) end
    local got = call('HMGET', GROUP, unpack(fields))
    for i = 1, #fields do
      if got[i] then
        ids[#ids + 1] = { got[i], from + i - 1 }
        leases[#leases + 1] = 'l' .. got[i]
      end
    end
    read(leases)
    return ids
  end

  -- Holders of the page, the slot after which the next one begins, and whether there is a next one.
  local function holders(after)
    local views, slots_shown, last = {}, 0, after
    local scanned = min(after + SCAN, g.top)
    for from = after + 1, scanned, BUDGET do
      local ids = owners_of(from, min(from + BUDGET - 1, scanned))
      for i = 1, #ids do
        local id, it = ids[i][1], lease('l' .. ids[i][1])
        local slots, in_ms = slots_of(it.slots), it.at_end - now
        if slots[1] == ids[i][2] and in_ms > 0 then
          slots_shown = slots_shown + #slots
          if slots_shown > BUDGET and #views > 0 then return views, last, true end
          last = slots[1]
          views[#views + 1] = id .. ' ' .. it.token .. ' ' .. num(in_ms) .. ' ' .. it.slots .. ' ' .. tail_of(it)
        end
      end
    end
    if scanned < g.top then return views, scanned, true end
    return views, last, false
  end

  local function waiters(shown)
    if g.waiting <= shown then return {} end
    local members, views = call('ZRANGE', QUEUE, shown, shown + BUDGET - 1), {}
    read_those(members)
    for i = 1, #members do
      local id, _, field = whose(members[i])
      local it = id ~= '' and waiter(field, members[i])
      if it then
        local terms = it.terms
        views[#views + 1] = id .. ' ' .. it.ticket .. ' ' .. terms.limit_text .. ' ' .. num(terms.weight) .. ' '
          .. num(terms.priority) .. ' ' .. terms.tail
      end
    end
    return views
  end

  -- The slots of leases that haven't ended. Of those that have and aren't reaped yet, the first 200 are looked at.
  local function held()
    local ended = g.leases > 0 and call('ZRANGEBYSCORE', ENDS, '(0', now_text, 'LIMIT', 0, BUDGET) or {}
    local fields, slots = {}, g.held
    for i = 1, #ended do fields[i] = 'l' .. ended[i] end
    read(fields)
    for i = 1, #ended do
      local it = lease(fields[i])
      if it then slots = slots - #slots_of(it.slots) end
    end
    return slots
  end

  -- Who the sessions of these holders and waiters are; each text begins with an id.
  local function introductions(views, in_line)
    local fields, seen, known = {}, {}, {}
    for i = 1, #views + #in_line do
      local field = 'p' .. session_of_id(views[i] or in_line[i - #views])
      if not seen[field] then
        seen[field] = true
        fields[#fields + 1] = field
      end
    end
    read(fields)
    for i = 1, #fields do
      local identity = hash[fields[i]] and introduction_of(hash[fields[i]], now)
      if identity then known[#known + 1] = sub(fields[i], 2) .. ' ' .. identity end
    end
    return known
  end

  verbs.inspect = { anyone = true, fields = fields, carry_out = function(at)
    -- What an earlier call of this command changed.
    if many_sets > 0 or many_dels > 0 or many_freed > 0 then flush() end
    local after, shown = number(ARGS[at]), number(ARGS[at + 1])
    local views, last, more = holders(after)
    local in_line = waiters(shown)
    more = more or shown + #in_line < g.waiting
    local said = { num(#views) }
    for i = 1, #views do said[i + 1] = views[i] end
    said[#said + 1] = g.limit .. ' ' .. num(held()) .. ' ' .. num(g.waiting) .. ' ' .. num(#in_line)
    for i = 1, #in_line do said[#said + 1] = in_line[i] end
    local known = introductions(views, in_line)
    said[#said + 1] = (more and num(last) or '-1') .. ' ' .. num(shown + #in_line) .. ' ' .. num(#known)
    for i = 1, #known do said[#said + 1] = known[i] end
    return reply(concat(said, ' '), false)
  end }
end) end
