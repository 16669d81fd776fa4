"""Resources × time → micro-credits, or a price for each Job, in integers (D9). Nothing here rounds
in anyone's favour twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trainshed.domain.attempt import Attempt
from trainshed.domain.ledger import MICRO, Unit
from trainshed.domain.resources import Pool, Resources
from trainshed.domain.states import AttemptState, Reason

MS_PER_HOUR = 3_600_000
CREDIT = 1_000_000
#: The exit status by which the process of a Job with one price says that what it was given is at
#: fault; any other end but success is the platform's.
INPUT_AT_FAULT = 10
#: Jobs of the workload ``board`` cost a run each, whatever they take.
BOARDS = Pool("boards", None, 0, 0, MICRO, MICRO, Unit.BOARD_RUN, MICRO)


@dataclass(frozen=True, slots=True)
class Package:
    """Credits that the operator sells, for information; ``price_cents`` in US cents."""

    id: str
    name: str
    credits: int
    price_cents: int


@dataclass(frozen=True, slots=True)
class BoardPlan:
    """What an account may run on boards: every ``renewal_days`` (0: never again) it is given what
    it lacks of ``runs``. ``price_cents`` is for information, in hundredths of ``currency``.
    """

    name: str
    runs: int
    price_cents: int = 0
    currency: str = "USD"
    renewal_days: int = 30

    def lacking(self, available: int) -> int:
        """Return what an account with ``available`` micro-runs is given at a renewal."""
        return max(0, self.runs * MICRO - available)

    def renews_after(self, due: datetime | None, now: datetime) -> datetime | None:
        """Return when the next period begins; periods that nobody was here for are passed over."""
        if not self.renewal_days:
            return None
        period = timedelta(days=self.renewal_days)
        begun = due or now
        return begun + period * ((now - begun) // period + 1)


def rate(pool: Pool, resources: Resources) -> int:
    """Return the price of one hour of ``resources`` in ``pool``, in thousandths of a micro-credit.

    A GPU pool charges by GPU-hour, a pool without GPUs by core-hour.
    """
    units = resources.gpus * 1000 if pool.gpu_type is not None else resources.millicpus
    return pool.price_ucredits * units


def cost(pool: Pool, resources: Resources, billable_ms: int) -> int:
    """Return what ``billable_ms`` of running costs, rounded up once to the pool's increment; the
    price of a Job where the pool has one.
    """
    if pool.per_job:
        return pool.per_job
    return charge(pool, rate(pool, resources) * max(billable_ms, 0))


def charge(pool: Pool, exact: int) -> int:
    """Return the charge for ``exact`` = Σ rate × ms over all Attempts of one Job, rounded up
    once.
    """
    if exact <= 0:
        return 0
    ucredits = -(-exact // (MS_PER_HOUR * 1000))
    step = pool.charge_increment
    return max(-(-ucredits // step) * step, pool.minimum_charge)


def hold_amount(
    pool: Pool, resources: Resources, max_runtime_ms: int, billable_so_far_ms: int
) -> int:
    """Return the reservation for the rest of the allowed run time (never larger than before)."""
    return cost(pool, resources, max(0, max_runtime_ms - billable_so_far_ms))


def hourly(pool: Pool, resources: Resources) -> int:
    """Return what one hour costs, before any least charge; 0 where Jobs have one price each."""
    return 0 if pool.per_job else cost(replace(pool, minimum_charge=0), resources, MS_PER_HOUR)


def owed(attempts: Iterable[Attempt]) -> bool:
    """Return whether a Job with one price owes it: it did its work, or what it was given could not
    be worked with, or was stopped by its owner after it had begun.

    What the platform is to blame for costs nothing: a machine that was lost, and a process that
    failed, or ran out of time or memory, without saying that its input is at fault.
    """
    return any(a.started_at is not None and _worked(a) for a in attempts)


def _worked(one: Attempt) -> bool:
    if one.state in (AttemptState.SUCCEEDED, AttemptState.CANCELLED):
        return True
    return one.reason is Reason.EXIT_CODE and one.exit_code == INPUT_AT_FAULT
