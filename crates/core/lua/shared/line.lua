-- line: who waits, in classes of one limit; who is at the head of each, who joins, who leaves (R3, R4).
--
-- A member of the queue is priority (two digits, higher first), ticket (16 digits), lease id; its score is the limit.
-- A class is read a window at a time; what this call changes is written before the next window is read.
local windows = {} -- limit → members in order, read from `at` on
local lengths = {} -- limit → how long the next window is at least: whoever needs many gets them in few commands

local function member_of(id, it)
  return string.format('%02d%016d', 10 - it.terms.priority, it.ticket) .. id
end

-- The first of a class; n: how many the caller may want one after the other.
local function head(limit, n)
  local window = windows[limit]
  if window and window[window.at] then return window[window.at] end
  if not counts[limit] then return nil end
  if queue_changed then flush() end
  n = math.min(math.max(n, lengths[limit] or 1), 50)
  lengths[limit] = 2 * n
  window = redis.call('ZRANGEBYSCORE', QUEUE, limit, limit, 'LIMIT', 0, n)
  window.at = 1
  windows[limit] = window
  if n > 1 then
    local fields = {}
    for i = 1, #window do
      fields[2 * i - 1] = 'l' .. id_of(window[i])
      fields[2 * i] = 'c' .. string.sub(window[i], 19, 34)
    end
    read(fields)
  end
  return window[1]
end

-- Whether somebody waits whom a request of this limit and priority may not overtake.
local function stands_before(limit, priority)
  for i = #classes, 1, -1 do
    if classes[i] < limit then return false end
    local first = head(classes[i], 1)
    if first and 10 - tonumber(string.sub(first, 1, 2)) >= priority then return true end
  end
  return false
end

local function line_takes(limit)
  return #classes < 32 or counts[limit] ~= nil
end

local function count_in(limit, member)
  waiting = waiting + 1
  if counts[limit] then
    counts[limit] = counts[limit] + 1
    local window = windows[limit]
    if window and member < (window[#window] or '') then windows[limit] = nil end
    return
  end
  counts[limit] = 1
  windows[limit] = { member, at = 1 }
  local place = 1
  while classes[place] and classes[place] < limit do place = place + 1 end
  table.insert(classes, place, limit)
end

local function count_out(limit, member)
  waiting = waiting - 1
  local window = windows[limit]
  if window and window[window.at] == member then
    window.at = window.at + 1
  else
    windows[limit] = nil
  end
  counts[limit] = counts[limit] - 1
  if counts[limit] > 0 then return end
  counts[limit], windows[limit] = nil, nil
  for i = 1, #classes do
    if classes[i] == limit then
      table.remove(classes, i)
      return
    end
  end
end

-- The caller's request joins the line; its session has just shown that it lives.
local function join(id, terms, ticket)
  local it = { ticket = ticket, terms = terms }
  local member = member_of(id, it)
  g.ticket = math.max(g.ticket, ticket)
  records[id] = it
  put('l' .. id, 'W ' .. num(ticket) .. ' ' .. g.gen .. ' ' .. terms.text)
  set_queue(member, terms.limit)
  count_in(terms.limit, member)
  local own = session(SESSION) or new_session()
  own.count, own.connection = own.count + 1, CONNECTION
  keep_alive(own)
end

local function leave(id)
  local it = waiter(id)
  if not it then return false end
  local member = member_of(id, it)
  set_queue(member, false)
  count_out(it.terms.limit, member)
  forget(id)
  local owner = string.sub(id, 1, 16)
  local its = session(owner)
  if its then
    its.count = math.max(its.count - 1, 0)
    save_session(owner, its)
  end
  return true
end
