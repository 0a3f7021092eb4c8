-- Remove a letter and add the job that it describes.
-- KEYS[1] '{namespace}'; ARGV[1..3] see send.lua; ARGV[4] letter; ARGV[5] its number; ARGV[6] page for releases; then the
--   job as for add: queue, id, name, data, options, extra
-- Returns as add.lua, or nil if somebody else was first
-- Events removed; those of add.lua and release.lua
--- @include base
--- @include send
--- @include moves
--- @include release
--- @include add_job

local letter = load(ARGV[4])
if not letter or letter.number ~= tonumber(ARGV[5]) or (letter.state ~= 'waiting' and letter.state ~= 'delayed') then
  return nil
end
local number = redis.call('INCR', P .. ':number')
local one = add_job(ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12], number)
if not one then
  return nil
end
delete_by_hand(letter)
tell(letter.queue, 'removed', letter.id, letter.name)
local more = release_page(tonumber(ARGV[6]))
return { more, {}, sent(), instead, now, number, one == true and {} or { 0, one } }
