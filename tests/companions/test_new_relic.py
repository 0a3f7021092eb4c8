"""New Relic's distributed traces."""

from __future__ import annotations

from tests.companions.programs import answer


def test_what_is_linked(redis_url: str) -> None:
    """With stock Celery the next step of a chain, and the body of a chord, are not: they are sent behind the task."""
    stock, bridge = (answer("with_new_relic", redis_url, bridge=one) for one in (False, True))
    assert stock == {"task": [True], "by name": [True], "chain": [True, False], "chord": [True, True, False]}
    assert bridge == {"task": [True], "by name": [True], "chain": [True, True], "chord": [True, True, True]}
