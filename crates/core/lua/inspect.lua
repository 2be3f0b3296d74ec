-- inspect: a read-only picture of a group for people, one page; writes nothing (R26).
--
-- ARGV   slots up to this one have been shown · so many waiters have been shown
-- ANSWER number of holders, of each: id token ends-in slots NAME LABEL
-- ADDS   limit · held · waiting · number of waiters, of each: id ticket limit weight priority NAME LABEL · next slot,
--        or −1 after the last page · next waiter
--
-- A lease is shown whole, on the page of its lowest slot; one that has ended isn't shown, and its slots aren't counted.
local SCAN = 2000
local after, shown = tonumber(ARGV[FROM]), tonumber(ARGV[FROM + 1])

local function lowest_of_leases(from, to)
  local fields, ids, leases = {}, {}, {}
  for slot = from, to do fields[#fields + 1] = 's' .. num(slot) end
  read(fields)
  for slot = from, to do
    local id = hash['s' .. num(slot)]
    if id then
      ids[#ids + 1] = { id, slot }
      leases[#leases + 1] = 'l' .. id
    end
  end
  read(leases)
  return ids
end

-- Holders of the page, the slot after which the next one begins, and whether there is a next one.
local function holders()
  local views, slots_shown, last = {}, 0, after
  local scanned = math.min(after + SCAN, g.top)
  for from = after + 1, scanned, BUDGET do
    local ids = lowest_of_leases(from, math.min(from + BUDGET - 1, scanned))
    for i = 1, #ids do
      local it = lease(ids[i][1])
      if it.slots[1] == ids[i][2] and it.at_end > now then
        slots_shown = slots_shown + #it.slots
        if slots_shown > BUDGET and #views > 0 then return views, last, true end
        last = it.slots[1]
        views[#views + 1] = ids[i][1] .. ' ' .. num(it.token) .. ' ' .. num(math.max(it.at_end - now, 0)) .. ' '
          .. it.slots_text .. ' ' .. it.tail
      end
    end
  end
  if scanned < g.top then return views, scanned, true end
  return views, last, false
end

local function waiters()
  if waiting <= shown then return {} end
  local members, fields, views = redis.call('ZRANGE', QUEUE, shown, shown + BUDGET - 1), {}, {}
  for i = 1, #members do fields[i] = 'l' .. id_of(members[i]) end
  read(fields)
  for i = 1, #members do
    local id = id_of(members[i])
    local it = id ~= '' and waiter(id)
    if it then
      views[#views + 1] = id .. ' ' .. num(it.ticket) .. ' ' .. it.terms.limit .. ' ' .. it.terms.weight .. ' '
        .. it.terms.priority .. ' ' .. it.terms.tail
    end
  end
  return views
end

-- The slots of leases that haven't ended. Of those that have and aren't reaped yet, the first 200 are looked at.
local function held()
  local ended = g.leases > 0 and redis.call('ZRANGEBYSCORE', ENDS, '(0', now, 'LIMIT', 0, BUDGET) or {}
  local fields, slots = {}, g.held
  for i = 1, #ended do fields[i] = 'l' .. ended[i] end
  read(fields)
  for i = 1, #ended do
    local it = lease(ended[i])
    if it then slots = slots - #it.slots end
  end
  return slots
end

local views, last, more = holders()
local in_line = waiters()
more = more or shown + #in_line < waiting
local said = { 'ok', now, g.epoch or '-', '-1 0 0', #views }
for i = 1, #views do said[#said + 1] = views[i] end
for _, figure in ipairs({ g.limit, held(), waiting, #in_line }) do said[#said + 1] = figure end
for i = 1, #in_line do said[#said + 1] = in_line[i] end
return table.concat(said, ' ') .. ' ' .. (more and last or -1) .. ' ' .. shown + #in_line
