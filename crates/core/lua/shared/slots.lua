-- slots: the smallest free ones (R2), and leases on them.
--
-- Free are: what this call freed, the gaps below the highest slot in use, and everything above it. Gaps are read a
-- window at a time, smallest first; what is left of a range is `trimmed`.
local function smallest_gap(n)
  if trimmed then return trimmed[1] end
  if gaps_left == 0 then return nil end
  if not gap_window[#taken + 1] then
    local more = redis.call('ZRANGE', GAPS, #taken, #taken + (#taken == 0 and n or BUDGET) - 1)
    for i = 1, #more do gap_window[#taken + i] = more[i] end
  end
  return tonumber(string.match(gap_window[#taken + 1] or '', '^%d+'))
end

local function take_gap()
  gaps_left = gaps_left - 1
  if not trimmed then
    local member = gap_window[#taken + 1]
    local lo, hi = string.match(member, '^(%d+)%-?(%d*)$')
    taken[#taken + 1] = member
    trimmed = { tonumber(lo), tonumber(hi) or tonumber(lo) }
  end
  trimmed[1] = trimmed[1] + 1
  if trimmed[1] > trimmed[2] then trimmed = nil end
end

local function take_freed()
  freed[#freed] = nil
  freed.sorted = #freed
end

-- The smallest free slot; nil when the gaps are being mended and it isn't known. A gap that should be there and isn't,
-- or one above the limit although there is room below, shows that the gaps were lost.
local function take_one(limit, n)
  in_order(freed)
  local gap, own = smallest_gap(n), freed[#freed]
  if not gap and gaps_left > 0 then return nil end
  local slot = own and gap and math.min(own, gap) or own or gap
  if not slot and g.mend == '' then
    g.top = g.top + 1
    return g.top
  end
  if not slot or slot > limit then return nil end
  if slot == gap then take_gap() else take_freed() end
  return slot
end

-- n slots in ascending order; nil when the gaps are being mended and this call has done its share of that. Slots that
-- were taken are given back before mending goes on: nothing says yet that they are held.
local function take(n, limit)
  while true do
    local slots = {}
    while #slots < n do
      local slot = take_one(limit, n - #slots)
      if not slot then break end
      slots[#slots + 1] = slot
    end
    if #slots == n then return slots end
    for i = 1, #slots do freed[#freed + 1] = slots[i] end
    if not crowd().mend() then return nil end
  end
end

local function next_token()
  g.token = math.max(g.token + 1, now_us)
  return g.token
end

-- Writes a lease that has its slots.
local function set_lease(id, it)
  for i = 1, #it.slots do put('s' .. num(it.slots[i]), id) end
  if it.name then put('n' .. it.name, id) end
  save_lease(id, it)
  set_end(id, it.at_end)
  latest(it.at_end)
end

local function new_lease(id, terms, token, slots, at_end)
  local it = {
    lease = true,
    at_end = at_end,
    token = token,
    limit = terms.limit,
    slots = slots,
    slots_text = slots_text(slots),
    name = terms.name,
    tail = terms.tail,
  }
  g.held, g.leases = g.held + #slots, g.leases + 1
  local first = earliest
  set_lease(id, it)
  earliest = first and math.min(first, at_end)
  return it
end

local function has_room(terms)
  return g.held + terms.weight <= terms.limit
end

local function grant(id, terms, length)
  local slots = take(terms.weight, terms.limit)
  return slots and new_lease(id, terms, next_token(), slots, now + length)
end

local function remove_lease(id, it)
  for i = 1, #it.slots do
    put('s' .. num(it.slots[i]), false)
    freed[#freed + 1] = it.slots[i]
  end
  if it.name then put('n' .. it.name, false) end
  forget(id)
  set_end(id, false)
  g.held, g.leases = g.held - #it.slots, g.leases - 1
end

local function may_go_to(it, terms)
  return #it.slots == terms.weight and it.slots[#it.slots] <= terms.limit
end

-- The lease of a name goes to the asker (R16); the former owner's record comes back for an undo.
local function take_over(former, id, terms, length)
  local before = lease(former)
  g.held, g.leases = g.held - #before.slots, g.leases - 1
  forget(former)
  set_end(former, false)
  return new_lease(id, terms, next_token(), before.slots, now + length), before
end

local function extend(id, it, length)
  it.at_end = now + length
  save_lease(id, it)
  set_end(id, it.at_end)
  latest(it.at_end)
end

-- How long until the earliest lease ends; nil without leases (R9).
local function next_end()
  if g.leases == 0 then return nil end
  if not earliest then
    if ends_changed then flush() end
    earliest = tonumber(redis.call('ZRANGEBYSCORE', ENDS, '(0', '(inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
  end
  return earliest and math.max(earliest - now, 0)
end
