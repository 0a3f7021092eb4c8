-- Fields that a completion replaces, and their values, see complete_jobs.lua; none, mostly.
local function replaced(data, message)
  if message == '' then
    if data ~= '' then
      return F.data, data
    end
  elseif data == '' then
    return F.message, message
  else
    return F.data, data, F.message, message
  end
end
