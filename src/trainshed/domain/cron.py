"""When a Schedule fires next: five-field cron in a time zone, over cronsim (D12).

Over a change of the clocks, as Debian's cron does it: a fixed time that is skipped fires when the
gap ends, one that happens twice fires the first time only; a minute or hour field that begins with
``*`` follows real time and so neither repeats nor skips any of it.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from cronsim import CronSim, CronSimError

from trainshed.domain.errors import InvalidInput

MAX_LENGTH = 200
_ADVICE = (
    " Write five fields: minute hour day-of-month month day-of-week, for example '30 2 * * *'"
    " (02:30 daily) or '*/15 * * * MON-FRI' (every quarter of an hour on working days)."
)
_START = datetime(2000, 1, 1, tzinfo=UTC)


def check(expression: str) -> str:
    """Return ``expression`` with single spaces if it is five fields that some day fire.

    Raises:
        InvalidInput: naming the field at fault, with an example of what to write.
    """
    _first(expression)
    return " ".join(expression.split())


def next_fires(expression: str, tz: tzinfo, after: datetime, n: int) -> list[datetime]:
    """Return the next ``n`` fires strictly after ``after`` (aware), in UTC, ascending.

    Fewer only if the expression ends (no match within 50 years).

    Raises:
        InvalidInput: the expression is wrong.
        ValueError: ``after`` is naive.
    """
    if after.tzinfo is None:
        raise ValueError("after must be an aware datetime")
    check(expression)
    fires: list[datetime] = []
    last = after.astimezone(UTC)
    walk = CronSim(expression, last.astimezone(tz))
    while len(fires) < n:
        due = next(walk, None)
        if due is None:
            break
        at = due.astimezone(UTC)
        # In the repeated hour cronsim names the first pass even when ``after`` lies in the second,
        # and several skipped times fire together at the end of the gap.
        if at > last:
            fires.append(at)
            last = at
    return fires


def _first(expression: str) -> datetime:
    fields = expression.split()
    if len(expression) > MAX_LENGTH or len(fields) != 5:
        raise InvalidInput(f"A schedule has {len(fields)} fields." + _ADVICE, field="schedule")
    try:
        first = next(CronSim(expression, _START), None)
    except (CronSimError, ValueError, AssertionError) as error:
        what = str(error) if isinstance(error, CronSimError) else "Bad schedule"
        raise InvalidInput(f"{what} in the schedule." + _ADVICE, field="schedule") from error
    if first is None:
        raise InvalidInput("This schedule never fires." + _ADVICE, field="schedule")
    return first
