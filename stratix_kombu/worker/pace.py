"""How often a consumer looks, and how much it takes at once."""

from __future__ import annotations

from stratix_kombu.model.claims import Taken

TEND_S = 1.0
"""How often the connection is tended while no slot is free."""
GATHER_S = 0.005
"""So long at most, and no longer than the last call took, results are gathered for one call."""
MAX_BATCH = 100
"""No more is taken at once, so that a worker of hundreds of slots does not hold up its peers."""
PAUSED_POLL_S = 0.5
CROWDED_POLL_S = 1.0
"""How often a crowded queue is looked at, where no job of this worker ends before."""
LIMITED_POLL_S = 1.0
"""How often is looked whether a limit was changed or lifted."""
AT_HAND_S = 0.25
"""How long before a limit opens the permits for it are received."""
UNKNOWN = Taken(left=True)
"""Before the store has said anything: it is asked without a permit, since those of its jobs may be lost, or may be with
another broker."""
