"""The conformance suite of stores.

Subclass it in a test module and give it a fixture ``store``: an empty namespace of its own for each test.

>>> class TestMyStore(StoreSuite):  # doctest: +SKIP
...     @pytest.fixture
...     def store(self): ...
"""

from __future__ import annotations

from stratix_kombu.testing.stores.adding import AddingSuite
from stratix_kombu.testing.stores.afterwards import AfterwardsSuite
from stratix_kombu.testing.stores.again import AgainSuite
from stratix_kombu.testing.stores.attempts import AttemptSuite
from stratix_kombu.testing.stores.audit import audit
from stratix_kombu.testing.stores.changed_limits import ChangedLimitSuite
from stratix_kombu.testing.stores.clock import ClockSuite
from stratix_kombu.testing.stores.clocks import LeadSuite
from stratix_kombu.testing.stores.complete_and_take import CompleteAndTakeSuite
from stratix_kombu.testing.stores.concurrency import ConcurrencySuite
from stratix_kombu.testing.stores.contents import ContentsSuite
from stratix_kombu.testing.stores.dependencies import DependencySuite
from stratix_kombu.testing.stores.each import EachSuite
from stratix_kombu.testing.stores.finding import FindingSuite
from stratix_kombu.testing.stores.flows import FlowSuite
from stratix_kombu.testing.stores.forks import ForkSuite
from stratix_kombu.testing.stores.going_on import GoingOnSuite
from stratix_kombu.testing.stores.groups import GroupSuite
from stratix_kombu.testing.stores.hand import HandSuite
from stratix_kombu.testing.stores.identity import IdentitySuite
from stratix_kombu.testing.stores.letters import LetterSuite
from stratix_kombu.testing.stores.limits import LimitSuite
from stratix_kombu.testing.stores.looking import LookingSuite
from stratix_kombu.testing.stores.many import ManySuite
from stratix_kombu.testing.stores.messages import MessageSuite
from stratix_kombu.testing.stores.metrics import MetricsSuite
from stratix_kombu.testing.stores.parts import PartsSuite
from stratix_kombu.testing.stores.permits import PermitSuite
from stratix_kombu.testing.stores.reading import ReadingSuite
from stratix_kombu.testing.stores.rerun import RerunSuite
from stratix_kombu.testing.stores.running import RunningSuite
from stratix_kombu.testing.stores.runs import RunsSuite
from stratix_kombu.testing.stores.stand_ins import StandInSuite
from stratix_kombu.testing.stores.take import TakeSuite

__all__ = ["StoreSuite", "audit"]


class StoreSuite(
    AddingSuite,
    TakeSuite,
    CompleteAndTakeSuite,
    GroupSuite,
    PermitSuite,
    RunningSuite,
    AgainSuite,
    GoingOnSuite,
    MessageSuite,
    LimitSuite,
    ChangedLimitSuite,
    DependencySuite,
    FlowSuite,
    StandInSuite,
    ClockSuite,
    HandSuite,
    EachSuite,
    PartsSuite,
    RunsSuite,
    ReadingSuite,
    LookingSuite,
    FindingSuite,
    AttemptSuite,
    ManySuite,
    MetricsSuite,
    IdentitySuite,
    LetterSuite,
    ConcurrencySuite,
    AfterwardsSuite,
    ForkSuite,
    RerunSuite,
    LeadSuite,
    ContentsSuite,
):
    """What every Store must do: each sentence of ``stores/contract.py``."""
