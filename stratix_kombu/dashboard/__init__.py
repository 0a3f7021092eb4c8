"""Pages that show what is in the queues, what goes wrong, and the few things one does about it.

>>> from stratix_kombu.dashboard import Dashboard
>>> board = Dashboard(app, authorize=lambda request: user_of(request))  # doctest: +SKIP
"""

from stratix_kombu.dashboard.audit import Action as Action
from stratix_kombu.dashboard.core import Dashboard as Dashboard
from stratix_kombu.dashboard.http import Request as Request, Response as Response
from stratix_kombu.dashboard.security import (
    ACTIONS as ACTIONS,
    local_only as local_only,
    password as password,
    token as token,
)
