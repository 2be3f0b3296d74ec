-- gaps: which slots are free (R2): what this command freed, the gaps below the highest slot in use, all above that.
--
-- Gaps are read a window at a time, smallest first; what is left of a range is `trimmed`. A freed slot that nobody took
-- again becomes a gap, or lowers `top`. While gaps are mended, a slot that the sweep has still to see isn't written:
-- the sweep will find it.
local free_slot, take, take_just, found_free
local mend, begin_mending -- see mend

piece(function()
  local function descending(a, b) return a > b end

  local function in_order()
    if many_freed > 1 then sort(freed, descending) end
    sorted = many_freed
  end

  function free_slot(slot)
    many_freed = many_freed + 1
    freed[many_freed] = slot
  end

  -- The lowest and the highest slot of a gap; nil for what is none.
  local function range_of(member)
    local slot = tonumber(member)
    if slot then return slot, slot end
    local lo, hi = match(member or '', '^(%d+)%-(%d+)$')
    return tonumber(lo), tonumber(hi)
  end

  local function smallest_gap(n)
    if trimmed then return trimmed[1] end
    if gaps_left == 0 then return nil end
    taken, gap_window = taken or {}, gap_window or {}
    if not gap_window[#taken + 1] then
      local more = call('ZRANGE', GAPS, #taken, #taken + (#taken == 0 and n or BUDGET) - 1)
      for i = 1, #more do gap_window[#taken + i] = more[i] end
    end
    return (range_of(gap_window[#taken + 1]))
  end

  local function take_gap()
    gaps_left = gaps_left - 1
    if not trimmed then
      local member = gap_window[#taken + 1]
      local lo, hi = range_of(member)
      taken[#taken + 1] = member
      if lo == hi then return nil end
      trimmed = { lo, hi }
    end
    trimmed[1] = trimmed[1] + 1
    if trimmed[1] > trimmed[2] then trimmed = nil end
  end

  -- The smallest free slot; nil when gaps are being mended and it isn't known. A gap that should be there and isn't,
  -- or one above the limit although there is room below, shows that the gaps were lost.
  local function take_one(limit, n)
    if sorted ~= many_freed then in_order() end
    local gap, mine = gaps_left > 0 and smallest_gap(n) or nil, freed[many_freed]
    if not gap and gaps_left > 0 then return nil end
    local slot = mine and gap and min(mine, gap) or mine or gap
    if not slot and g.mend == '' then
      g.top = g.top + 1
      return g.top
    end
    if not slot or slot > limit then return nil end
    if slot == gap then
      take_gap()
    else
      freed[many_freed], many_freed, sorted = nil, many_freed - 1, many_freed - 1
    end
    return slot
  end

  -- n slots, as text; nil when the gaps are being mended and this command has done its share of that. Slots that were
  -- taken are given back before mending goes on: nothing says yet that they are held.
  function take(n, limit)
    while true do
      if n == 1 then
        local slot = take_one(limit, 1)
        if slot then return digits[slot] or num(slot) end
      else
        local slots = {}
        while #slots < n do
          local slot = take_one(limit, n - #slots)
          if not slot then break end
          slots[#slots + 1] = slot
        end
        if #slots == n then return slots_text(slots) end
        for i = 1, #slots do free_slot(slots[i]) end
      end
      if not mend() then return nil end
    end
  end

  local function forget()
    if many_freed > 8 then freed = {} else for i = 1, many_freed do freed[i] = nil end end
    many_freed, taken, trimmed, gap_window, sorted = 0, nil, nil, nil, 0
  end

  local function empty()
    local stored = gaps_left + (taken and #taken or 0)
    if stored > BUDGET then
      call('UNLINK', GAPS)
      unmake('g')
    elseif stored > 0 then
      call('ZREMRANGEBYSCORE', GAPS, '-inf', '(inf')
    end
    gaps_left, g.top, g.mend = 0, 0, ''
    forget()
  end

  -- Notes a free range that is to be a gap.
  function found_free(lo, hi, list)
    list[#list + 1] = num(lo)
    list[#list + 1] = lo == hi and num(lo) or num(lo) .. '-' .. num(hi)
    gaps_left = gaps_left + hi - lo + 1
  end

  -- Takes one slot below the highest in use out of the gaps.
  local function take_from_gaps(slot)
    if slot >= (tonumber(match(g.mend, '^%d+')) or huge) then return nil end
    local member = call('ZREVRANGEBYSCORE', GAPS, slot, '-inf', 'LIMIT', 0, 1)[1]
    local lo, hi = range_of(member)
    if not lo or hi < slot then
      begin_mending()
      again = true
      return nil
    end
    call('ZREM', GAPS, member)
    gaps_left = gaps_left - (hi - lo + 1)
    local rest = {}
    if lo < slot then found_free(lo, slot - 1, rest) end
    if slot < hi then found_free(slot + 1, hi, rest) end
    add(GAPS, 'g', rest, #rest)
  end

  -- These slots, if nobody has them; `places` knows that.
  function take_just(slots)
    for i = 1, #slots do
      if places[slots.fields[i]] then return false end
    end
    -- What the command has freed so far must be in the gaps, or the group be empty again, before slots are taken.
    if many_freed > 0 or taken or g.held == 0 then flush() end
    local above = {}
    for i = 1, #slots do
      if slots[i] > g.top then
        if slots[i] > g.top + 1 and g.mend == '' then found_free(g.top + 1, slots[i] - 1, above) end
        g.top = slots[i]
      else
        take_from_gaps(slots[i])
      end
    end
    add(GAPS, 'g', above, #above)
    return true
  end

  function write_gaps()
    if g.held == 0 and g.top > 0 then return empty() end
    if many_freed == 0 and not taken then return nil end
    if taken and taken[1] then call('ZREM', GAPS, unpack(taken)) end
    local more, unseen = {}, tonumber(match(g.mend, '^%d+')) or huge
    if trimmed then
      gaps_left = gaps_left - (trimmed[2] - trimmed[1] + 1)
      found_free(trimmed[1], trimmed[2], more)
    end
    if sorted ~= many_freed then in_order() end
    for i = 1, many_freed do
      local slot = freed[i]
      if slot == g.top and g.mend == '' then
        g.top = slot - 1
      elseif slot < unseen then
        found_free(slot, slot, more)
      end
    end
    forget()
    add(GAPS, 'g', more, #more)
  end
end)
