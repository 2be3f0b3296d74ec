-- group: the group as it is stored, read and checked before anything is written (R24, R27).
--
-- Nothing of ours may stand where there is no state, sorted sets that outlived their group excepted. A session's former
-- connection is refused (R12). A line that vanished alone is begun anew: a new generation makes every waiter's record
-- count as absent.
local got = redis.pcall('HMGET', GROUP, unpack(wanted, 1, math.min(#wanted, CHUNK)))
if got.err then return { string.find(got.err, 'WRONGTYPE', 1, true) and 'wrongtype' or 'refused', got.err } end

local epoch, outlived = got[1], nil
if epoch then
  if string.sub(epoch, 1, 2) ~= '1 ' then return { 'version', (string.match(epoch, '^%S*')) } end
  epoch = string.sub(epoch, 3)
else
  outlived = {}
  for i = 1, 4 do
    local kind = redis.call('TYPE', KEYS[i]).ok
    if i > 1 and kind == 'zset' then
      outlived[#outlived + 1] = KEYS[i]
    elseif kind ~= 'none' then
      return { 'wrongtype', KEYS[i] .. ' is a ' .. kind .. ' that belongs to somebody else' }
    end
  end
end

local held, leases, top, limit_seen, token, latest_end =
  string.match(got[2] or '0 0 0 0 0 0', '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
held, leases, top = tonumber(held), tonumber(leases), tonumber(top)
local expire, made, mend = string.match(got[4] or '0 ', '^(%d+) (%l*) ?(.*)$')

local classes, counts, waiting, line_lost = nil, nil, 0, false -- limits ascending, waiters of each, all of them
local gen, ticket, line = 0, 0, got[3]
if line then
  gen, ticket = string.match(line, '^(%d+) (%d+)')
  gen, ticket = tonumber(gen), tonumber(ticket)
end
if line and string.find(line, ':', 1, true) then
  classes, counts = {}, {}
  for limit, count in string.gmatch(line, '(%d+):(%d+)') do
    limit, count = tonumber(limit), tonumber(count)
    classes[#classes + 1] = limit
    counts[limit] = count
    waiting = waiting + count
  end
end
if waiting > 0 then
  local there = redis.pcall('ZCARD', QUEUE)
  if type(there) == 'table' then
    return { string.find(there.err, 'WRONGTYPE', 1, true) and 'wrongtype' or 'refused', there.err }
  end
  if there ~= waiting + 1 then classes, counts, waiting, gen, line_lost = {}, {}, 0, gen + 1, true end
end

-- The session's stored connection number counts while it waits or until its guard.
if got[5] and not anyone then
  local connection, count, guard, its_gen = string.match(got[5], '^%d+ (%d+) %d (%d+) (%d+) (%d+)$')
  if tonumber(connection) > CONNECTION
    and (tonumber(guard) > now or (count ~= '0' and tonumber(its_gen) == gen)) then
    return { 'stale' }
  end
end
