-- head: constants, Lua's own functions, the texts of numbers, and what is kept from call to call.
--
-- While Redis loads a library it shows it none of Lua's functions: `learn` takes them in the first call.
local RESERVE, SLACK, BUDGET, CHUNK = 300000, 150000, 200, 2000
local IS_LIBRARY = redis.register_function ~= nil
local function of_lua() return tonumber, tostring, unpack, type, next, pairs, pcall end
local tonumber, tostring, unpack, type, next, pairs, pcall
local match, sub, find, byte, gmatch, gsub, format
local max, min, huge, concat, sort, insert, remove, call, try
local digits, whole = {}, {} -- the texts of small numbers, and the numbers of small texts
local num, number, kept

-- What a file defines stands in a function of its own: what is made one deeper is cheaper to make, and a script makes
-- all anew in each call.
local function piece(define) return define() end

-- What a script is asked for: it makes the pieces of these verbs alone.
local asked_words = {}
for i = 1, IS_LIBRARY and 0 or #ARGV do
  if #ARGV[i] < 12 then asked_words[ARGV[i]] = true end
end

-- Whether one of the calls is of this verb, with an introduction or without.
local function is_asked(verb)
  return IS_LIBRARY or asked_words[verb] or asked_words[verb .. '+'] or false
end

local function learn()
  tonumber, tostring, unpack, type, next, pairs, pcall = of_lua()
  match, sub, find, byte = string.match, string.sub, string.find, string.byte
  gmatch, gsub, format = string.gmatch, string.gsub, string.format
  max, min, huge = math.max, math.min, math.huge
  concat, sort, insert, remove = table.concat, table.sort, table.insert, table.remove
  call, try = redis.call, redis.pcall
end

piece(function()
  -- The text of a whole number. Past 14 digits `..` and `tostring` would round.
  function num(value)
    if value > 4096 then return format('%d', value) end
    local text = digits[value]
    if text then return text end
    text = format('%d', value)
    if value >= 0 then digits[value] = text end
    return text
  end

  -- The number that an argument says. `whole` has it once it was asked for, unless it is long.
  function number(text)
    local value = whole[text] or tonumber(text)
    if #text < 4 then whole[text] = value end
    return value
  end

  -- What a text says, kept between calls unless it is large: the same text always says the same.
  function kept(parse)
    local known, count = {}, 0
    return function(text)
      local it = known[text]
      if it then return it end
      local is_large
      it, is_large = parse(text)
      if is_large then return it end
      if count >= 2000 then known, count = {}, 0 end
      known[text], count = it, count + 1
      return it
    end
  end
end)
