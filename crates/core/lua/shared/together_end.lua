end

local replies, place = {}, 7
for i = 1, #KEYS / 4 do
  local done, reply = pcall(carry_out, place + 1, KEYS[4 * i - 3], KEYS[4 * i - 2], KEYS[4 * i - 1], KEYS[4 * i])
  replies[i] = done and reply or 'failed ' .. (type(reply) == 'table' and reply.err or tostring(reply))
  place = place + 1 + ARGV[place]
end
return replies
