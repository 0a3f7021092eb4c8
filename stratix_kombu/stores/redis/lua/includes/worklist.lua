-- Work that a step leaves to release_page, which goes on with it a page at a time: see release.lua.
local function add_to_worklist(list, name)
  redis.call('ZADD', P .. ':' .. list, 'NX', order(), name)
end
