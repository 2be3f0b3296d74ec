-- groundwork: the group as this call goes on to see it, and what it changes.
local g = { -- the named fields
  epoch = epoch, held = held, leases = tonumber(leases), top = top, limit = tonumber(limit_seen), token = tonumber(token),
  ['end'] = tonumber(latest_end), gen = tonumber(gen), ticket = tonumber(ticket), expire = tonumber(expire), made = made, mend = mend,
}
classes, counts = classes or {}, counts or {}
local hash, dirty = {}, {} -- the other fields, and those that this call changed
local gaps_left = mend == '' and top - held or tonumber(string.match(mend, '%d+$')) -- free slots that the gaps hold
local again, push_refused = false, gone and gone.push_refused or false
if gone then touched = touched + number end
local handed = {} -- grants to the caller's own waiters: id, statement
for i = 1, gone and #gone.handed or 0 do handed[i] = { string.match(gone.handed[i], '^%S+'), gone.handed[i] } end
local crowd -- what only a contended group needs: see crowd
for i = NAMED, #wanted do hash[wanted[i]] = got[i] end

local function read(fields)
  for from = 1, #fields, CHUNK do
    local to = math.min(from + CHUNK - 1, #fields)
    local more = redis.call('HMGET', GROUP, unpack(fields, from, to))
    for i = from, to do
      local field = fields[i]
      if dirty[field] == nil then hash[field] = more[i - from + 1] end
    end
  end
end

local function put(field, value)
  hash[field] = value
  dirty[field] = value
end

local function latest(at)
  if at > g['end'] then g['end'] = at end
end
