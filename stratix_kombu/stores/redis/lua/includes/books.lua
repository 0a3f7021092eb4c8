-- Rate limits (see model/limiter.py): the starts under a key, read once in a step and written once. A limit is {key, max,
-- spacing, early, ahead}: how far apart starts are, how long before it opens it is asked again, and how long before its
-- start a claim is granted, in ms. A bucket has `initial` too. Whoever includes this declares B.
-- '<limit>:window' is a list of the last `max` instants; '<limit>:bucket' says when it would be full again (`starts`), and
-- how long a token takes until then (`token`).
local books, by_key = {}, {}

local function decode_limit(text)
  local limit = decoded(text)
  if not limit or type(limit.key) ~= 'string' then
    return nil
  end
  for _, number in ipairs({ 'max', 'spacing', 'early', 'ahead' }) do
    if type(limit[number]) ~= 'number' then
      return nil
    end
  end
  return limit
end

local function write_book(book)
  local limit, last = book.limit, book.made[book.count]
  if not book.dirty then
    return
  elseif limit.initial then
    redis.call('HSET', book.key, 'starts', string.format('%.6f', book.full), 'token', string.format('%.17g', limit.spacing))
    redis.call('PEXPIRE', book.key, math.ceil(math.max(book.full - now, 0)) + 86400000)
  else
    redis.call('RPUSH', book.key, unpack(book.made, 1, book.count))
    redis.call('LTRIM', book.key, -limit.max, -1)
    redis.call('PEXPIRE', book.key, limit.spacing * 2 + math.max(last - now, 0) + 60000)
  end
  book.dirty = false
end

-- When a bucket is full again, as its limit says: another one finds as many tokens missing, at most its whole content.
local function read_bucket(book)
  local limit, known = book.limit, redis.call('HMGET', book.key, 'starts', 'token')
  local full, token = tonumber(known[1]), tonumber(known[2])
  book.full = full or (now + (limit.max - limit.initial) * limit.spacing)
  if token and full > now and token ~= limit.spacing then
    book.full = now + (full - now) / token * limit.spacing
  end
  book.full = math.min(book.full, now + limit.max * limit.spacing + limit.ahead)
  -- Also if nothing starts: that counts from now on.
  book.dirty = book.full ~= full
end

-- What is known of the starts under the limit that a text describes; nil if it describes none.
local function open_book(text)
  if not text or text == '' or books[text] then
    return books[text or '']
  end
  local limit = decode_limit(text)
  if not limit then
    return nil
  end
  local key = P .. ':limit:' .. limit.key .. (limit.initial and ':bucket' or ':window')
  if by_key[key] then -- another limit of that key
    write_book(by_key[key])
    books[by_key[key].text] = nil
  end
  local book = { limit = limit, text = text, key = key, made = {}, count = 0, old = {}, olds = 0 }
  if limit.initial then
    read_bucket(book)
  else
    book.olds = redis.call('LLEN', key)
  end
  books[text], by_key[key] = book, book
  return book
end

-- The instant in a place of the list; read a page at a time.
local function old_start(book, place)
  if not book.old[place] then
    for i, instant in ipairs(redis.call('LRANGE', book.key, place, place + 249)) do
      book.old[place + i - 1] = tonumber(instant)
    end
  end
  return book.old[place] or 0
end

-- When there is room for one more.
local function free_at(book)
  local limit = book.limit
  if limit.initial then
    return math.ceil(book.full - (limit.max - 1) * limit.spacing)
  end
  local place = book.olds + book.count - limit.max
  if place < 0 then
    return 0
  elseif place < book.olds then
    return old_start(book, place) + limit.spacing
  end
  return book.made[place - book.olds + 1] + limit.spacing
end

local function is_closed(book)
  local free = free_at(book)
  return free > now + book.limit.ahead and free - book.limit.early or nil
end

-- Count a start. None counts as earlier than the one before.
local function count_start(book, instant)
  if book.limit.initial then
    book.full = math.max(book.full, instant) + book.limit.spacing
  else
    book.last = book.last or book.olds > 0 and tonumber(redis.call('LINDEX', book.key, -1)) or 0
    local last = book.made[book.count] or book.last
    book.count = book.count + 1
    book.made[book.count] = math.max(instant, last)
  end
  book.dirty = true
end

-- How many may start now or a little ahead, `most` at most; and when to ask again after these.
local function room_in(book, most)
  local count, full, dirty, room = book.count, book.full, book.dirty, 0
  local free = free_at(book)
  while room < most and free <= now + book.limit.ahead do
    count_start(book, math.max(free, now))
    room = room + 1
    free = free_at(book)
  end
  book.count, book.full, book.dirty = count, full, dirty
  for i = #book.made, count + 1, -1 do
    book.made[i] = nil
  end
  return room, free - book.limit.early
end

local function write_books()
  for _, book in pairs(by_key) do
    write_book(book)
  end
end

B = { open = open_book, free = free_at, closed = is_closed, start = count_start, room = room_in, write = write_books }
