"""Resources × time → micro-credits, in integers (D9). Nothing here rounds in anyone's favour
twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainshed.domain.resources import Pool, Resources

MS_PER_HOUR = 3_600_000
CREDIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Package:
    """Credits that the operator sells, for information; ``price_cents`` in US cents."""

    id: str
    name: str
    credits: int
    price_cents: int


def rate(pool: Pool, resources: Resources) -> int:
    """Return the price of one hour of ``resources`` in ``pool``, in thousandths of a micro-credit.

    A GPU pool charges by GPU-hour, a pool without GPUs by core-hour.
    """
    units = resources.gpus * 1000 if pool.gpu_type is not None else resources.millicpus
    return pool.price_ucredits * units


def cost(pool: Pool, resources: Resources, billable_ms: int) -> int:
    """Return what ``billable_ms`` of running costs, rounded up once to the pool's increment."""
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
