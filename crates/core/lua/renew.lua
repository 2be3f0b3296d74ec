-- renew: extend leases, keep the session's waiters in line; also the look (R9, R14, R19, R21, R28).
--
-- ARGV   number of leases, then for each: id · length, ms · n and its holder name, or nothing
--        then number of waiters, then their ids
-- ANSWER of a lease: its new end, ms · 0 gone · −1 taken over
-- ADDS   the session's count in line · of each waiter: line · granted STATEMENT · unknown
--
-- Begins with a write that a full memory doesn't refuse, so renewal goes on then (R25).
local function renewed(id, length, name)
  local it = lease(id)
  if it then
    extend(id, it, length)
    return it.at_end
  end
  return name ~= '' and owner_of(string.sub(name, 2)) and -1 or 0
end

local function looked_at(id)
  local it = record(id)
  if not it then return 'unknown' end
  return it.lease and 'granted ' .. statement(id, it) or 'line'
end

local refused = begin()
if refused then return refused end
local answers, waiters = {}, {}
for i = 1, number do
  local at = FROM + 3 * i - 2
  answers[i] = renewed(ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2])
end
local own = session(SESSION)
if own and (own.count > 0 or named > 0) then keep_alive(own) end
for i = 1, named do waiters[i] = looked_at(ARGV[waiters_at + i]) end
if waiting > 0 then
  crowd().reap()
  crowd().hand_off()
end
table.insert(waiters, 1, waiting_of(SESSION))
return close(answers, true, waiters)
