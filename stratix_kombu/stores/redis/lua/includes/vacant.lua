-- What a vacant job holds that does not stay when another one is added in its place.
local of_the_vacant = { F.vacant, F.due_ms, F.dispatches, F.waiting_ms, F.place, F.optional, F.options, F.priority,
  F.max_attempts, F.keep_completed, F.keep_failed, F.message, F.max_stalled, F.forward, F.pending, F.kind, F.group }
