-- mend: ends and gaps built anew from the slots, when one of them vanished alone.
--
-- The sweep goes up from slot 1, a bounded stretch at a time; `mend` in the state says which slot is next and how many
-- gaps have been found. Until it is through, `again` is set, and what hasn't been seen yet isn't given to anybody.
piece(function()
  local STRETCH, STRETCHES = 1000, 2

  function begin_mending()
    for letter, key in pairs({ e = ENDS, g = GAPS }) do
      local kind = call('TYPE', key).ok
      if kind ~= 'zset' and kind ~= 'none' then call('ZCARD', key) end
      unmake(letter)
    end
    call('UNLINK', ENDS, GAPS)
    gaps_left, g.mend = 0, '1:0'
  end

  local function sweep_ends(ids)
    local fields = {}
    for id in pairs(ids) do fields[#fields + 1] = 'l' .. id end
    read(fields)
    local list = {}
    for i = 1, #fields do
      local it = lease(fields[i])
      if it then list[#list + 1], list[#list + 2] = it.at_end, id_in(fields[i]) end
    end
    add(ENDS, 'e', list, #list)
  end

  local function sweep_stretch(from, to)
    local fields, ids, gaps, lo = {}, {}, {}, nil
    earliest = nil
    for slot = from, to do fields[#fields + 1] = 's' .. num(slot) end
    local got = fields[1] and call('HMGET', GROUP, unpack(fields)) or {}
    for slot = from, to do
      local id = got[slot - from + 1]
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
    add(GAPS, 'g', gaps, #gaps)
  end

  -- One stretch; false when this command has done its share.
  function mend()
    if swept >= STRETCHES then
      again = true
      return false
    end
    swept = swept + 1
    flush()
    if g.mend == '' then begin_mending() end
    local from = tonumber(match(g.mend, '^%d+'))
    local to = min(from + STRETCH - 1, g.top)
    sweep_stretch(from, to)
    g.mend = to >= g.top and '' or num(to + 1) .. ':' .. num(gaps_left)
    again = again or g.mend ~= ''
    return true
  end
end)
