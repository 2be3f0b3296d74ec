-- records: what the hash says of a lease, a waiter, a session; the terms of a request.
--
-- terms    limit weight priority lease claim max-waiting NAME LABEL      (max-waiting −1: none)
-- lease    H end token limit slots NAME LABEL                            (slots: runs, 1-3,7)
-- waiter   W ticket generation terms
-- session  deadline connection listens count guard generation
-- NAME LABEL stand as: length length bytes bytes                         (length −1: none)
local function num(value)
  return string.format('%d', value)
end

local known_terms = {}
local function terms_of(text)
  local terms = known_terms[text]
  if terms then return terms end
  local limit, weight, priority, lease, claim, max, tail, name, label, at =
    string.match(text, '^(%d+) (%d+) (%-?%d+) (%d+) (%d+) (%-?%d+) ()(%-?%d+) (%-?%d+) ()')
  name = tonumber(name)
  terms = {
    text = text,
    limit = tonumber(limit),
    weight = tonumber(weight),
    priority = tonumber(priority),
    lease = tonumber(lease),
    claim = tonumber(claim),
    max = tonumber(max),
    name = name >= 0 and string.sub(text, at, at + name - 1) or nil,
    tail = string.sub(text, tail),
  }
  known_terms[text] = terms
  return terms
end

local function slots_of(text)
  if not string.find(text, '%D') then return { tonumber(text) } end
  local slots = {}
  for lo, hi in string.gmatch(text, '(%d+)%-?(%d*)') do
    for slot = tonumber(lo), tonumber(hi) or tonumber(lo) do slots[#slots + 1] = slot end
  end
  return slots
end

local function slots_text(slots)
  if #slots == 1 then return num(slots[1]) end
  local runs, i = {}, 1
  while i <= #slots do
    local j = i
    while slots[j + 1] == slots[j] + 1 do j = j + 1 end
    runs[#runs + 1] = i == j and num(slots[i]) or num(slots[i]) .. '-' .. num(slots[j])
    i = j + 1
  end
  return table.concat(runs, ',')
end

local records = {} -- id → record, or false; of this call only

local function parse_lease(text)
  local at_end, token, limit, slots, tail, name, at =
    string.match(text, '^H (%d+) (%d+) (%d+) (%S+) ()(%-?%d+) %-?%d+ ()')
  name = tonumber(name)
  return {
    lease = true,
    at_end = tonumber(at_end),
    token = tonumber(token),
    limit = tonumber(limit),
    slots = slots_of(slots),
    slots_text = slots,
    name = name >= 0 and string.sub(text, at, at + name - 1) or nil,
    tail = string.sub(text, tail),
  }
end

local function parse_waiter(text)
  local ticket, gen, at = string.match(text, '^W (%d+) (%d+) ()')
  if tonumber(gen) ~= g.gen then return false end
  return { ticket = tonumber(ticket), terms = terms_of(string.sub(text, at)) }
end

local function record(id)
  local it = records[id]
  if it ~= nil then return it end
  local text = hash['l' .. id]
  if text == nil then
    read({ 'l' .. id })
    text = hash['l' .. id]
  end
  if not text then
    it = false
  elseif string.byte(text) == 72 then
    it = parse_lease(text)
  else
    it = parse_waiter(text)
  end
  records[id] = it
  return it
end

local function lease(id)
  local it = record(id)
  return it and it.lease and it or nil
end

local function waiter(id)
  local it = record(id)
  return it and not it.lease and it or nil
end

local function save_lease(id, it)
  records[id] = it
  put('l' .. id, 'H ' .. num(it.at_end) .. ' ' .. num(it.token) .. ' ' .. it.limit .. ' ' .. it.slots_text .. ' ' .. it.tail)
end

-- The lease id in a member of the queue.
local function id_of(member)
  return string.sub(member, 19)
end

local function forget(id)
  records[id] = false
  put('l' .. id, false)
end

-- A grant as it is stated: id token end ttl slots.
local function statement(id, it)
  return id .. ' ' .. num(it.token) .. ' ' .. num(it.at_end) .. ' ' .. num(math.max(it.at_end - now, 0)) .. ' ' .. it.slots_text
end

local function owner_of(name)
  local field = 'n' .. name
  if hash[field] == nil then read({ field }) end
  return hash[field] or nil
end

local sessions = {}
local function session(id)
  local it = sessions[id]
  if it ~= nil then return it end
  local field = 'c' .. id
  if hash[field] == nil then read({ field }) end
  it = false
  if hash[field] then
    local deadline, connection, listens, count, guard, gen =
      string.match(hash[field], '^(%d+) (%d+) (%d) (%d+) (%d+) (%d+)$')
    count = tonumber(gen) == g.gen and tonumber(count) or 0
    if count > 0 or tonumber(guard) > now then
      it = {
        deadline = tonumber(deadline),
        connection = tonumber(connection),
        listens = listens == '1',
        count = count,
        guard = tonumber(guard),
      }
    end
  end
  sessions[id] = it
  return it
end

local function waiting_of(id)
  local its = session(id)
  return its and its.count or 0
end

local function new_session()
  return { deadline = 0, connection = CONNECTION, listens = false, count = 0, guard = 0 }
end

local function save_session(id, it)
  if it.count == 0 and it.guard <= now then
    sessions[id] = false
    put('c' .. id, false)
    return
  end
  sessions[id] = it
  put('c' .. id, num(it.deadline) .. ' ' .. num(it.connection) .. (it.listens and ' 1 ' or ' 0 ') .. it.count
    .. ' ' .. num(it.guard) .. ' ' .. g.gen)
end

-- The caller's session shows that it lives (R19).
local function keep_alive(it)
  it.deadline = now + KEEP_ALIVE
  it.listens = FLAGS % 2 == 1
  latest(it.deadline)
  save_session(SESSION, it)
end

local function live(id)
  local it = session(id)
  return it and it.deadline > now
end

-- A session that is gone is live no more.
local function lose(id)
  local it = session(id)
  if not it then return nil end
  it.deadline, it.listens = 0, false
  save_session(id, it)
end
