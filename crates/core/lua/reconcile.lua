-- reconcile: settle the session's own ids after an unclear outcome; store its connection number (R12, R14, R30).
--
-- ARGV   rank from which on the session's own ids are looked for, or nothing · number of items, then for each one of
--          keep · id · terms · epoch · token · slots · end, ms · length from now, ms, or nothing
--          want · id · terms · ticket, or nothing
--          drop · id
-- ANSWER held STATEMENT · line ticket · unknown · taken · dropped 1 or 0
-- ADDS   number of own ids, and they · the rank at which to go on, or −1
--
-- Begins with a write that a full memory doesn't refuse: giving back goes on then (R25).
local GUARD = 60000
local items, at = {}, FROM + 2
for i = 1, number do
  local item = { verb = ARGV[at], id = ARGV[at + 1] }
  if item.verb ~= 'drop' then item.terms = terms_of(ARGV[at + 2]) end
  if item.verb == 'keep' then
    item.epoch, item.token, item.slots = ARGV[at + 3], tonumber(ARGV[at + 4]), slots_of(ARGV[at + 5])
    item.at_end, item.length = tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
    at = at + 8
  else
    item.ticket = item.verb == 'want' and tonumber(ARGV[at + 3])
    at = at + (item.verb == 'want' and 4 or 2)
  end
  items[i] = item
end

-- Takes one slot below the highest in use out of the gaps.
local function take_from_gaps(slot)
  if slot >= (tonumber(string.match(g.mend, '^%d+')) or math.huge) then return end
  local member = redis.call('ZREVRANGEBYSCORE', GAPS, slot, '-inf', 'LIMIT', 0, 1)[1]
  local lo, hi = string.match(member or '', '^(%d+)%-?(%d*)$')
  lo, hi = tonumber(lo), tonumber(hi) or tonumber(lo)
  if not lo or hi < slot then
    crowd().begin_mending()
    again = true
    return
  end
  redis.call('ZREM', GAPS, member)
  local rest = {}
  if lo < slot then crowd().found_free(lo, slot - 1, rest) end
  if slot < hi then crowd().found_free(slot + 1, hi, rest) end
  gaps_left = gaps_left - (hi - lo + 1)
  add(GAPS, 'g', rest)
end

local function take_just(slots)
  for i = 1, #slots do
    if hash['s' .. num(slots[i])] then return false end
  end
  -- What the call has freed so far must be in the gaps, or the group be empty again, before slots are taken from them.
  if #freed > 0 or g.held == 0 then flush() end
  table.sort(slots)
  local above = {}
  for i = 1, #slots do
    if slots[i] > g.top then
      if slots[i] > g.top + 1 and g.mend == '' then crowd().found_free(g.top + 1, slots[i] - 1, above) end
      g.top = slots[i]
    else
      take_from_gaps(slots[i])
    end
  end
  add(GAPS, 'g', above)
  return true
end

local function held(item, it, length)
  extend(item.id, it, length)
  return 'held ' .. statement(item.id, it)
end

-- Whether the state went back to what it was before one of these grants, as a replica that is promoted without the last
-- writes does: it is of the same epoch and doesn't know the grant yet, or shows its id as it was before.
local function has_gone_back()
  for i = 1, #items do
    local item = items[i]
    if item.verb == 'keep' and item.epoch == g.epoch and item.at_end > now then
      local it = record(item.id)
      if item.token > g.token or (it and it.token ~= item.token) then return true end
    end
  end
  return false
end

-- The fields that say who has the slots and the name of what is to be kept.
local function find_places(item)
  item.fields = {}
  for i = 1, #item.slots do item.fields[i] = 's' .. num(item.slots[i]) end
  if item.terms.name then item.fields[#item.fields + 1] = 'n' .. item.terms.name end
end

-- Slots and name were free, or taken over, when they were granted: whoever has them by an older grant has ended since,
-- and only an old snapshot still shows it.
local function outdate(item)
  for i = 1, #item.fields do
    local id = hash[item.fields[i]]
    local it = id and lease(id)
    if it and it.token < item.token then remove_lease(id, it) end
  end
end

-- Reads at once who has the slots and names of what is to be kept and isn't there.
local function read_places()
  local fields, owners = {}, {}
  for i = 1, #items do
    local item = items[i]
    local it = item.verb == 'keep' and lease(item.id)
    if item.verb == 'keep' and not (it and it.token == item.token) then
      find_places(item)
      for j = 1, #item.fields do fields[#fields + 1] = item.fields[j] end
    end
  end
  read(fields)
  for i = 1, #fields do
    local id = hash[fields[i]]
    if id then owners[#owners + 1] = 'l' .. id end
  end
  read(owners)
end

local went_back, reaped = false, false

local function fits(item)
  return has_room(item.terms) and take_just(item.slots)
end

local function keep(item)
  local it, terms = lease(item.id), item.terms
  if it and it.token == item.token then
    -- Without a length it ends when that was stated last, also in a state that has gone back to before its renewal.
    return held(item, it, item.length or math.max(it.at_end, item.at_end) - now)
  end
  -- A state from before the grant still has it in line, or has granted it a second time.
  if it then remove_lease(item.id, it) else crowd().leave(item.id) end
  if not item.fields then -- It was there until another item of this call removed it.
    find_places(item)
    read(item.fields)
  end
  local may_return = (item.epoch ~= g.epoch or SETTLING or went_back) and item.at_end > now
  if may_return then outdate(item) end
  if terms.name and owner_of(terms.name) then return 'taken' end
  if may_return and not fits(item) then
    if not reaped then crowd().reap() end
    reaped = true
    may_return = fits(item)
  end
  if not may_return then return 'unknown' end
  g.token = math.max(g.token, item.token)
  local at_end = item.length and now + item.length or item.at_end
  return 'held ' .. statement(item.id, new_lease(item.id, terms, item.token, item.slots, at_end))
end

local function want(item)
  local it, terms = record(item.id), item.terms
  if it and it.lease then return held(item, it, terms.lease) end
  if it then return 'line ' .. num(it.ticket) end
  local former = terms.name and owner_of(terms.name)
  if not item.ticket or not crowd().line_takes(terms.limit) or (former and not may_go_to(lease(former), terms)) then
    return 'unknown'
  end
  crowd().join(item.id, terms, item.ticket)
  return 'line ' .. num(item.ticket)
end

local function drop(item)
  local it = lease(item.id)
  if it then remove_lease(item.id, it) else crowd().leave(item.id) end
  return it and 'dropped 1' or 'dropped 0'
end

-- Each guard that is set pays for the removal of those that have passed.
local function remove_passed_guards()
  if not string.find(g.made, 'e', 1, true) then return end
  local passed = redis.call('ZRANGEBYSCORE', ENDS, -now, '(0', 'LIMIT', 0, BUDGET)
  for i = 1, #passed do
    set_end(passed[i], false)
    local id = string.sub(passed[i], 2)
    if not session(id) then put('c' .. id, false) end
  end
end

local function guard()
  local own = session(SESSION) or new_session()
  own.connection, own.guard = CONNECTION, now + GUARD
  remove_passed_guards()
  latest(own.guard)
  set_end('~' .. SESSION, -own.guard)
  keep_alive(own)
end

-- The session's ids among the leases and waiters of the ranks asked for. While the ends are being mended they don't
-- show all leases, and the same ranks are to be asked for again.
local function own()
  if not own_from then return { 0, -1 } end
  flush()
  if g.leases > 0 and (g.mend ~= '' or redis.call('ZCOUNT', ENDS, '(0', '(inf') ~= g.leases) then
    crowd().mend()
    flush()
  end
  local found, prefix, next_from = { 0 }, SESSION .. '-', own_from + BUDGET
  local function look_for(members, from)
    for i = 1, #members do
      local id = string.sub(members[i], from)
      if string.sub(id, 1, 17) == prefix then found[#found + 1] = id end
    end
  end
  if g.leases > 0 then look_for(redis.call('ZRANGEBYSCORE', ENDS, '(0', '(inf', 'LIMIT', own_from, BUDGET), 1) end
  if waiting > 0 then look_for(redis.call('ZRANGEBYSCORE', QUEUE, '-inf', '(inf', 'LIMIT', own_from, BUDGET), 19) end
  found[1] = #found - 1
  found[#found + 1] = g.mend ~= '' and num(own_from) or next_from < math.max(g.leases, waiting) and num(next_from) or -1
  return found
end

if number == 0 and not g.epoch then return close({}, false, { 0, -1 }) end
local refused = begin() or make()
if refused then return refused end
guard()
went_back = has_gone_back()
if went_back then g.epoch = ARGV[5] end
read_places()
local answers, settle = {}, { keep = keep, want = want, drop = drop }
for i = 1, #items do answers[i] = settle[items[i].verb](items[i]) end
if waiting > 0 then
  crowd().reap()
  crowd().hand_off()
end
return close(answers, true, own())
