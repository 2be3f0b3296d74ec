-- mend: ends and gaps built anew from the slots, when one of them vanished alone.
--
-- The sweep goes up from slot 1, a bounded stretch a call; `mend` says which slot is next and how many gaps have been
-- found. Until it is through, `again` is set, and what hasn't been seen yet isn't given to anybody.
local STRETCH, STRETCHES = 1000, 2
local swept = 0

local function begin_mending()
  for letter, key in pairs({ e = ENDS, g = GAPS }) do
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'zset' and kind ~= 'none' then redis.call('ZCARD', key) end
    unmake(letter)
  end
  redis.call('UNLINK', ENDS, GAPS)
  gaps_left, g.mend = 0, '1:0'
end

local function found_free(lo, hi, gaps)
  gaps[#gaps + 1] = lo
  gaps[#gaps + 1] = lo == hi and num(lo) or num(lo) .. '-' .. num(hi)
  gaps_left = gaps_left + hi - lo + 1
end

local function sweep_ends(ids)
  local fields = {}
  for id in pairs(ids) do fields[#fields + 1] = 'l' .. id end
  read(fields)
  for id in pairs(ids) do
    local it = lease(id)
    if it then set_end(id, it.at_end) end
  end
end

local function sweep_stretch(from, to)
  local fields, ids, gaps, lo = {}, {}, {}, nil
  for slot = from, to do fields[#fields + 1] = 's' .. num(slot) end
  read(fields)
  for slot = from, to do
    local id = hash['s' .. num(slot)]
    if id then
      ids[id] = true
      if lo then found_free(lo, slot - 1, gaps) end
      lo = nil
    else
      lo = lo or slot
    end
  end
  if lo then found_free(lo, to, gaps) end
  sweep_ends(ids)
  add(GAPS, 'g', gaps)
end

-- One stretch; false when this call has done its share.
local function mend()
  if swept >= STRETCHES then
    again = true
    return false
  end
  swept = swept + 1
  flush()
  if g.mend == '' then begin_mending() end
  local from = tonumber(string.match(g.mend, '^%d+'))
  local to = math.min(from + STRETCH - 1, g.top)
  sweep_stretch(from, to)
  g.mend = to >= g.top and '' or num(to + 1) .. ':' .. num(gaps_left)
  again = again or g.mend ~= ''
  return true
end
