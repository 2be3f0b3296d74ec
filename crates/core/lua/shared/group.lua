-- group: the group as it is stored, read and checked before anything is written (R24, R27).
--
-- Nothing of ours may stand where there is no state, sorted sets that outlived their group excepted. A session's former
-- connection is refused (R12). A line that vanished alone is begun anew: a new generation makes every waiter's record
-- count as absent.
local got = redis.pcall('HMGET', GROUP, unpack(wanted))
if got.err then return (string.find(got.err, 'WRONGTYPE', 1, true) and 'wrongtype ' or 'refused ') .. got.err end

local state, epoch, outlived = got[1], nil, nil
local held, leases, top, limit_seen, token, latest_end = '0', '0', '0', '0', '0', '0'
local expire, made, mend, gen, ticket, line = '0', '', '', '0', '0', ''
if state then
  epoch, held, leases, top, limit_seen, token, latest_end, expire, made, mend, gen, ticket, line = string.match(state,
    '^1 (%x+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%l*)%- ([%d:]*)%- (%d+) (%d+)(.*)$')
  if not epoch then return 'version ' .. string.match(state, '^%S*') end
else
  outlived = {}
  local keys = { GROUP, ENDS, GAPS, QUEUE }
  for i = 1, #keys do
    local kind = redis.call('TYPE', keys[i]).ok
    if i > 1 and kind == 'zset' then
      outlived[#outlived + 1] = keys[i]
    elseif kind ~= 'none' then
      return 'wrongtype ' .. keys[i] .. ' is a ' .. kind .. ' that belongs to somebody else'
    end
  end
end

local evenly = held == leases and held == top -- one slot a lease, and no gaps
held, top = tonumber(held), tonumber(top)

local classes, counts, waiting, line_lost = nil, nil, 0, false -- limits ascending, waiters of each, all of them
if line ~= '' then
  classes, counts = {}, {}
  for limit, count in string.gmatch(line, '(%d+):(%d+)') do
    limit, count = tonumber(limit), tonumber(count)
    classes[#classes + 1] = limit
    counts[limit] = count
    waiting = waiting + count
  end
  local there = redis.pcall('ZCARD', QUEUE)
  if type(there) == 'table' then
    return (string.find(there.err, 'WRONGTYPE', 1, true) and 'wrongtype ' or 'refused ') .. there.err
  end
  if there ~= waiting + 1 then
    classes, counts, waiting, gen, line_lost = {}, {}, 0, string.format('%d', gen + 1), true
  end
end

-- The session's stored connection number counts while it waits or until its guard.
if got[2] and not anyone then
  local connection, count, guard, its_gen = string.match(got[2], '^%d+ (%d+) %d (%d+) (%d+) (%d+)$')
  if tonumber(connection) > tonumber(CONNECTION)
    and (tonumber(guard) > now or (count ~= '0' and its_gen == gen)) then
    return 'stale'
  end
end
