"""What the pages share: how the dashboard is set up, one visit of it, and what a page gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stratix_kombu.dashboard.audit import Action, Audit, record
from stratix_kombu.dashboard.http import Refused, Request
from stratix_kombu.dashboard.redaction import Redaction
from stratix_kombu.dashboard.security import ACTIONS, Authorize, May

if TYPE_CHECKING:
    from stratix_kombu.application import Application


@dataclass(frozen=True, slots=True)
class Site:
    """How the dashboard is set up."""

    app: Application
    authorize: Authorize
    may: May
    read_only: bool
    redact: Redaction
    audit: Audit | None
    title: str


@dataclass(slots=True)
class Visit:
    """One request by somebody who may be here."""

    site: Site
    request: Request
    user: Any
    for_programs: bool = False
    """Whether the answer is JSON."""
    token: str = ""
    """A field that the host framework wants in each form: Django's token against requests from other sites."""

    @property
    def app(self) -> Application:
        return self.site.app

    def may(self, action: str, queue: str = "") -> bool:
        """Whether the user may do that, with that queue."""
        if self.site.read_only and action != "view":
            return False
        return bool(self.site.may(self.user, action, queue))

    def check(self, action: str, queue: str = "") -> None:
        """Raises Refused unless the user may."""
        if not self.may(action, queue):
            where = f" of queue {queue!r}" if queue else ""
            raise Refused(403, f"you may not do this: {ACTIONS[action]}{where}")

    def expect(self, *names: str) -> None:
        """Raises Refused if a program says anything but these fields: what is passed over may have been a condition."""
        if not self.for_programs:
            return
        said = [name for name in self.request.said if name not in names]
        if said:
            known = ", ".join(names) if names else "none"
            raise Refused(400, f"unknown field {said[0]!r}; the fields of this action: {known}")
        if self.request.query:
            raise Refused(400, "an action takes its fields in a JSON body, not in the URL")

    def allowed(self, queue: str = "") -> dict[str, bool]:
        """For each action, whether the user may."""
        return {action: self.may(action, queue) for action in ACTIONS}

    def url(self, path: str, **query: object) -> str:
        """The URL of a page."""
        return self.request.url(path, **query)

    def record(self, action: str, queue: str, **more: Any) -> None:
        """Write down what was done."""
        record(Action(user=self.user, action=action, queue=queue, peer=self.request.peer, **more), self.site.audit)


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows: values that programs are given too, and what only its template needs."""

    template: str
    data: Any
    """A dataclass."""
    view: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an action."""

    action: str
    count: int = 1
    """How many jobs it was done to."""
    job: str = ""
    """The job that was added, or that it was done to."""
    back: str = "/"
    """The page to go on with, below the prefix."""
