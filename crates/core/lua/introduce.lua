-- introduce: a session says beside a call which process it is, for people (R40); and what has passed of sessions goes.
--
-- ARGV   of a verb whose name ends in `+`, before what the verb itself says: how long it is kept, ms · IDENTITY
local remove_passed, introducing

piece(function()
  -- Guards and introductions whose time is over; whoever sets one pays for the removal of others.
  function remove_passed()
    if not find(g.made, 'e', 1, true) then return nil end
    if many_new_ends > 0 or many_old_ends > 0 then flush() end
    local passed = call('ZRANGEBYSCORE', ENDS, num(-now), '(0', 'LIMIT', 0, BUDGET)
    for i = 1, #passed do
      drop_mark(passed[i])
      local id = sub(passed[i], 2)
      if byte(passed[i]) == 64 then
        drop_field('p' .. id)
      elseif not session(id) then
        drop_field('c' .. id)
      end
    end
  end

  local function introduce(length, identity)
    if not g.epoch then return nil end -- There is nobody to be told.
    local field, at = 'p' .. SESSION, now + length
    if hash[field] then flush() end -- What this command has set is written before it is set once more.
    if g.text then remove_passed() end
    set_field(field, introduction_text(num(at), identity))
    set_mark('@' .. SESSION, at)
  end

  -- The verb of this name, with the introduction. What anyone may do is asked without one.
  function introducing(name)
    local verb = verbs[sub(name, 1, -2)]
    verbs[name] = {
      acquires = verb.acquires,
      writes = true,
      fields = function(at) return verb.fields(at + 2) end,
      carry_out = function(at, skip)
        local said = verb.carry_out(at + 2, skip)
        introduce(ARGS[at], ARGS[at + 1])
        written = nil
        return said
      end,
    }
    return verbs[name]
  end
end)
