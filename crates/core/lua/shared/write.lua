-- write: what the call changed, written in few commands: removals first (R25), then what makes a grant stand.
--
-- The first write goes by pcall: its refusal is an answer (R24), and nothing has been written then. Later ones can't
-- be refused for want of memory. A sorted set has a sentinel, so that it never empties and keeps its time to live.
local ends, queue = {}, {} -- changes: member → score, or false
local ends_changed, queue_changed = false, false
local freed, taken, trimmed = {}, {}, nil -- free slots not yet in the gaps; gaps used up; what is left of one
local gap_window = {} -- the gaps as stored, smallest first
local earliest -- the earliest end, while it is known
local wrote, said = false, nil -- whether anything has been written; the answer to the last write

local function set_end(member, score)
  ends[member] = score
  ends_changed, earliest = true, nil
end

local function set_queue(member, limit)
  queue[member] = limit
  queue_changed = true
end

local function refusal(text)
  return (string.find(text, 'WRONGTYPE', 1, true) and 'wrongtype ' or 'refused ') .. text
end

local function write(...)
  if wrote then
    said = redis.call(...)
    return nil
  end
  said = redis.pcall(...)
  if type(said) == 'table' and said.err then return refusal(said.err) end
  wrote = true
end

local function write_all(command, key, list)
  for from = 1, #list, CHUNK do
    local refused = write(command, key, unpack(list, from, math.min(from + CHUNK - 1, #list)))
    if refused then return refused end
  end
end

-- The named fields as they are stored.
local function state_text()
  local text = string.format('1 %s %d %d %d %d %d %d %d %s- %s- %d %d', g.epoch, g.held, g.leases, g.top,
    g.limit, g.token, g['end'], g.expire, g.made, g.mend, g.gen, g.ticket)
  for i = 1, #classes do text = text .. ' ' .. classes[i] .. ':' .. counts[classes[i]] end
  return text
end

-- Makes the state; sorted sets that outlived their group go. The first write is one that a full memory refuses (R25).
local function make()
  if g.epoch then return nil end
  g.epoch, g['end'] = ARGV[5], now
  state = state_text()
  local refused = write('HSET', GROUP, 'state', state)
  if refused then return refused end
  if #outlived > 0 then redis.call('UNLINK', unpack(outlived)) end
end

-- The sentinel goes along each time: it is new in a set that the call makes, for the first time or after it vanished
-- alone, and such a set has no time to live yet.
local function add(key, letter, list)
  if #list == 0 then return nil end
  list[#list + 1] = 'inf'
  list[#list + 1] = '.'
  local refused = write_all('ZADD', key, list)
  if refused then return refused end
  if not string.find(g.made, letter, 1, true) then g.made = g.made .. letter end
  local members = ((#list - 1) % CHUNK + 1) / 2 -- of the last write
  if said == members and g.expire > 0 then redis.call('PEXPIREAT', key, g.expire) end
end

-- The first write of a call that a full memory mustn't stop (R25).
local function begin()
  if g.epoch then return write('PEXPIREAT', GROUP, g.expire) end
end

local function unmake(letter)
  g.made = string.gsub(g.made, letter, '')
end

local function scores(changes)
  local adds, removals = {}, {}
  for member, score in pairs(changes) do
    if score then
      adds[#adds + 1] = score
      adds[#adds + 1] = member
    else
      removals[#removals + 1] = member
    end
  end
  return adds, removals
end

local function field_changes()
  local sets, dels = {}, {}
  for field, value in pairs(dirty) do
    if value then
      sets[#sets + 1] = field
      sets[#sets + 1] = value
    else
      dels[#dels + 1] = field
    end
  end
  dirty = {}
  return sets, dels
end

-- Freed slots, largest first.
local function in_order(slots)
  if slots.sorted == #slots then return nil end
  table.sort(slots, function(a, b) return a > b end)
  slots.sorted = #slots
end

local function empty_gaps()
  local stored = gaps_left + #taken
  if stored > BUDGET then
    write('UNLINK', GAPS)
    unmake('g')
  elseif stored > 0 then
    write('ZREMRANGEBYSCORE', GAPS, '-inf', '(inf')
  end
  freed, taken, trimmed, gap_window, gaps_left = {}, {}, nil, {}, 0
  g.top, g.mend = 0, ''
end

-- A free slot is told by a gap, or by lying above `top`. While the gaps are being mended, a slot that the sweep has
-- still to see isn't written: the sweep will find it.
local function flush_gaps()
  if g.held == 0 then return empty_gaps() end
  if #taken > 0 then write_all('ZREM', GAPS, taken) end
  local adds = {}
  if trimmed then
    adds[1], adds[2] = trimmed[1], trimmed[1] == trimmed[2] and num(trimmed[1]) or num(trimmed[1]) .. '-' .. num(trimmed[2])
  end
  local unseen = tonumber(string.match(g.mend, '^%d+')) or math.huge
  in_order(freed)
  for i = 1, #freed do
    local slot = freed[i]
    if slot == g.top and g.mend == '' then
      g.top = slot - 1
    elseif slot < unseen then
      adds[#adds + 1] = slot
      adds[#adds + 1] = slot
      gaps_left = gaps_left + 1
    end
  end
  freed, taken, trimmed, gap_window = {}, {}, nil, {}
  return add(GAPS, 'g', adds)
end

-- The keys expire together, RESERVE past whatever lives longest; moved only when that has come too near.
local function move_expiry()
  if g['end'] + RESERVE <= g.expire then return false end
  g.expire = g['end'] + RESERVE + SLACK
  return true
end

local function set_expiry()
  local keys = { e = ENDS, g = GAPS, q = QUEUE }
  local refused = write('PEXPIREAT', GROUP, g.expire)
  for letter in string.gmatch(g.made, '.') do redis.call('PEXPIREAT', keys[letter], g.expire) end
  return refused
end

local function with_state(sets)
  local text = state_text()
  if text ~= state then
    sets[#sets + 1] = 'state'
    sets[#sets + 1] = text
  end
  state = text
  return sets
end

local function flush()
  if not g.epoch then return nil end
  local sets, dels = field_changes()
  local end_adds, end_removals, queue_adds, queue_removals = {}, {}, {}, {}
  if ends_changed then end_adds, end_removals = scores(ends) end
  if queue_changed then queue_adds, queue_removals = scores(queue) end
  ends, queue, ends_changed, queue_changed = {}, {}, false, false
  if line_lost then
    write('UNLINK', QUEUE)
    unmake('q')
    line_lost = false
  end
  local moved = move_expiry()
  return write_all('ZREM', ENDS, end_removals)
    or write_all('ZREM', QUEUE, queue_removals)
    or write_all('HDEL', GROUP, dels)
    or add(ENDS, 'e', end_adds)
    or add(QUEUE, 'q', queue_adds)
    or flush_gaps()
    or write_all('HSET', GROUP, with_state(sets))
    or (moved and set_expiry() or nil)
end
