-- group: one group as it is stored, read and checked before anything is written (R24, R27); and all that a command sees
-- and changes of it, begun anew in `look`: what an error left of the command before is forgotten there.
local wanted, many_wanted = { 'state' }, 2 -- the fields that the calls begin with; the first two are always the same
local outlived -- sorted sets that are there without a state
-- Of the present call: the grants to waiters of the caller, their ids and their statements.
local handed, grants, many_handed = {}, {}, 0
local line_lost -- whether the queue vanished: its waiters are forgotten, a new generation begins

-- As this command goes on to see it; nil where it needn't be known yet.
local own, is_kept -- the caller's session, or false; whether this command has shown that it lives
local leases_stored -- as many ends are in Redis
local earliest -- the earliest end of a lease, false without leases
local freed, many_freed, sorted = {}, 0, 0 -- slots that this command freed; as many are in order, largest first
local gap_window, taken, trimmed -- gaps as stored, smallest first; those that are used up; what is left of one: lo, hi
local gaps_left -- free slots in the gaps
local windows -- by limit: see line
local swept -- stretches that were mended
local places -- who has which slot, where somebody asked: slot → id or false

local ended_at_once = false -- whether one of the ends to be written has come already
local written -- the turn since whose beginning the present call has changed nothing, if its end knows of one
-- To be written: the arguments of commands. The lists are used again in each command.
local sets, dels, new_ends, old_ends, joins, leaves = {}, {}, {}, {}, {}, {}
local many_sets, many_dels, many_new_ends, many_old_ends, many_joins, many_leaves = 0, 0, 0, 0, 0, 0
local changed_sessions, many_changed = {}, 0

local look, remember, read, read_both, read_one, latest

piece(function()
  local states, many_states = {}, 0 -- by their texts, as commands left them; the epoch in it makes a text one group's
  local is_clean = true -- whether the command before wrote all that it changed

  -- Nothing of ours may stand where there is no state, sorted sets that outlived their group excepted.
  local function nothing_yet()
    local keys = { GROUP, ENDS, GAPS, QUEUE }
    outlived, g = {}, no_state()
    for i = 1, #keys do
      local kind = call('TYPE', keys[i]).ok
      if i > 1 and kind == 'zset' then
        outlived[#outlived + 1] = keys[i]
      elseif kind ~= 'none' then
        return 'wrongtype ' .. keys[i] .. ' is a ' .. kind .. ' that belongs to somebody else'
      end
    end
  end

  local function check_line()
    if call('ZCARD', QUEUE) == g.waiting + 1 then return nil end
    g.classes, g.counts, g.waiting, g.gen, line_lost = {}, {}, 0, num(g.gen + 1), true
  end

  local function begin_anew()
    earliest, windows, places, swept, is_kept, turn = nil, nil, nil, 0, false, turn + 1
    if is_clean then return nil end
    line_lost, many_changed, ended_at_once = false, 0, false
    freed, many_freed, sorted, gap_window, taken, trimmed = {}, 0, 0, nil, nil, nil
    many_sets, many_dels, many_new_ends, many_old_ends, many_joins, many_leaves = 0, 0, 0, 0, 0, 0
  end

  -- Reads what is wanted; answers why nothing may be done with the group, or nil.
  function look(keys, at)
    GROUP, ENDS, GAPS, QUEUE = keys[at], keys[at + 1], keys[at + 2], keys[at + 3]
    begin_anew()
    is_clean = false
    local got
    if many_wanted == 3 then -- A lone call, which needs no `unpack`.
      got = call('HMGET', GROUP, 'state', SESSION_FIELD, wanted[3])
    else
      wanted[2] = SESSION_FIELD
      got = call('HMGET', GROUP, unpack(wanted, 1, many_wanted))
    end
    local text = got[1]
    g = text and states[text]
    if g then
      states[text], many_states = nil, many_states - 1
    elseif text then
      g = state_of(text)
      if not g then return 'version ' .. match(text, '^%S*') end
    else
      local refused = nothing_yet()
      if refused then return refused end
    end
    local g = g
    if g.waiting > 0 then check_line() end
    leases_stored = g.leases
    if g.mend == '' then gaps_left = g.top - g.held else gaps_left = tonumber(match(g.mend, '%d+$')) end
    own = got[2] and session_of(SESSION_FIELD, got[2], g.gen, now)
    -- Made with room for what a lone call reads.
    hash = { [SESSION_FIELD] = own, [many_wanted > 2 and wanted[3] or ''] = got[3] or false }
    for i = 4, many_wanted do hash[wanted[i]] = got[i] end
  end

  -- All is written: whoever reads the same text next needn't read it out.
  function remember()
    local g = g
    if not g.text then return nil end
    if many_states >= 200 then states, many_states = {}, 0 end
    states[g.text], many_states, is_clean = g, many_states + 1, true
  end

  -- Reads the fields among these that weren't read yet.
  function read(fields, many)
    local ask, n = nil, 0
    for i = 1, many or #fields do
      if hash[fields[i]] == nil then
        ask = ask or {}
        n = n + 1
        ask[n] = fields[i]
      end
    end
    for from = 1, n, CHUNK do
      local to = min(from + CHUNK - 1, n)
      local more = call('HMGET', GROUP, unpack(ask, from, to))
      for i = from, to do hash[ask[i]] = more[i - from + 1] end
    end
  end

  -- Two fields, if neither of them was read yet.
  function read_both(one, other)
    if hash[one] ~= nil or hash[other] ~= nil then return nil end
    local got = call('HMGET', GROUP, one, other)
    hash[one], hash[other] = got[1], got[2]
  end

  function read_one(field)
    local text = hash[field]
    if text == nil then
      text = call('HMGET', GROUP, field)[1]
      hash[field] = text
    end
    return text
  end

  -- The keys of the group live longer than whatever ends last (R8).
  function latest(at, at_text)
    if at > g.latest then g.latest, g.latest_text = at, at_text end
  end
end)
