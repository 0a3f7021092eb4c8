--- @include load

-- A job that waited for another one to end may try; whether it does wait.
local function try_again(queue, id)
  local job = load(id, queue)
  if not job or job.state ~= 'waiting' then
    return false
  end
  send(job.id, queue, job.name, job.prio, job.message, job.forward)
  return true
end
