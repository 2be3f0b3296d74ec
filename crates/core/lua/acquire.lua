-- acquire: grant now, join the line, or refuse (R1–R6, R11, R16, R25).
--
-- ARGV   number of items · their ids · for each run of items on the same terms: how many, less than 0 if they
--        don't wait · terms
-- ANSWER granted STATEMENT · queued ticket ahead · full held waiting next-end · queue-full waiting · limits
--        · mismatch weight highest
--
-- The first write is one that a full memory refuses, so a refused acquire leaves nothing.
local items, weights, lowest, names = {}, 0, math.huge, {}
local run = FROM + number + 1
while #items < number do
  local many, terms = tonumber(ARGV[run]), terms_of(ARGV[run + 1])
  for _ = 1, math.abs(many) do
    items[#items + 1] = { id = ARGV[FROM + #items + 1], waits = many > 0, terms = terms }
  end
  weights, lowest = weights + math.abs(many) * terms.weight, math.min(lowest, terms.limit)
  if terms.name then names[#names + 1] = 'n' .. terms.name end
  run = run + 2
end

local joined, answers = {}, {}

local function full()
  local in_ms = next_end()
  return 'full ' .. num(g.held) .. ' ' .. waiting .. ' ' .. (in_ms and num(in_ms) or -1)
end

-- The same request again gets the same answer.
local function known(item)
  local it = record(item.id)
  if it and it.lease then
    if it.at_end > now then return 'granted ' .. statement(item.id, it) end
    remove_lease(item.id, it)
  elseif it then
    return 'queued ' .. num(it.ticket) .. ' ' .. waiting - 1
  end
end

local function by_name(item)
  local former = owner_of(item.terms.name)
  if not former then return nil end
  local it = lease(former)
  if it.at_end <= now then
    remove_lease(former, it)
  elseif not may_go_to(it, item.terms) then
    return 'mismatch ' .. #it.slots .. ' ' .. num(it.slots[#it.slots])
  else
    return 'granted ' .. statement(item.id, (take_over(former, item.id, item.terms, item.terms.lease)))
  end
end

-- Dead waiters at the front leave: once a call, and each of their sessions is looked at once.
local looked_through = false
local function look_through_line()
  if looked_through or waiting == 0 then return nil end
  looked_through = true
  if queue_changed then flush() end
  local first, fields, gone, leaving = redis.call('ZRANGE', QUEUE, 0, BUDGET - 1), {}, {}, {}
  for i = 1, #first do
    local owner = string.sub(first[i], 19, 34)
    if owner ~= '' and gone[owner] == nil then
      gone[owner] = false
      fields[#fields + 1] = 'c' .. owner
    end
  end
  read(fields)
  -- Most records are as they were read; of those only the deadline is of interest.
  for i = 1, #fields do
    local owner = string.sub(fields[i], 2)
    local until_ms, its_gen = string.match(hash[fields[i]] or '', '^(%d+) %d+ %d %d+ %d+ (%d+)$')
    gone[owner] = not (tonumber(its_gen) == g.gen and tonumber(until_ms) > now) and not live(owner)
  end
  for i = 1, #first do
    if gone[string.sub(first[i], 19, 34)] then leaving[#leaving + 1] = 'l' .. id_of(first[i]) end
  end
  read(leaving)
  for i = 1, #leaving do crowd().leave(string.sub(leaving[i], 2)) end
end

-- Whether as many wait as the request allows.
local function line_is_full(max)
  if max < 0 or waiting < max then return false end
  look_through_line()
  return waiting >= max
end

local function answer(item)
  local terms = item.terms
  g.limit = terms.limit
  local same = known(item) or (terms.name and by_name(item))
  if same then return same end
  if has_room(terms) and (waiting == 0 or not crowd().stands_before(terms.limit, terms.priority)) then
    local it = grant(item.id, terms, terms.lease)
    if it then return 'granted ' .. statement(item.id, it) end
  end
  if not item.waits then return full() end
  if line_is_full(terms.max) then return 'queue-full ' .. waiting end
  if not crowd().line_takes(terms.limit) then return 'limits' end
  local ticket, ahead = math.max(g.ticket + 1, now_us), waiting
  crowd().join(item.id, terms, ticket)
  joined[item.id] = #answers + 1
  return 'queued ' .. num(ticket) .. ' ' .. ahead
end

local function hand_off_to_joined()
  local before, others = #handed, {}
  crowd().hand_off()
  for i = 1, #handed do
    local place = i > before and joined[handed[i][1]]
    if place then
      answers[place] = 'granted ' .. handed[i][2]
    else
      others[#others + 1] = handed[i]
    end
  end
  handed = others
end

local refused = make()
if refused then return refused end
local crowded = waiting > 0 or g.held + weights > lowest
local removes = crowded or #names > 0
read(names)
for i = 1, #items do removes = removes or hash['l' .. items[i].id] end
if removes then refused = write('HSET', GROUP, 'state', state) end
if refused then return refused end
if crowded then
  crowd().reap()
  crowd().hand_off()
end
for i = 1, #items do answers[i] = answer(items[i]) end
if next(joined) then hand_off_to_joined() end
return close(answers, true)
