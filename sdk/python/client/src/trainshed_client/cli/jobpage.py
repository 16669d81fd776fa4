"""One Job on one page: where it is, how it got there, what it waits for, what it cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from trainshed_client.cli.render import (
    between,
    cell,
    credits,
    lasted,
    size,
    sparkline,
    state,
    table,
    when,
)
from trainshed_client.errors import Conflict, NotFound
from trainshed_client.models import Artifact, Attempt, Job, MetricSeries, Receipt

if TYPE_CHECKING:
    from trainshed_client.sync import Client


#: Most files on the page.
_FILES = 10


@dataclass(frozen=True)
class Page:
    """All that the page shows."""

    job: Job
    attempts: tuple[Attempt, ...] = ()
    checkpoints: tuple[Artifact, ...] = ()
    loss: MetricSeries | None = None
    receipt: Receipt | None = None
    artifacts: tuple[Artifact, ...] = ()


def collect(client: Client, job_id: str) -> Page:
    """Ask the server for everything on the page."""
    job = client.jobs.get(job_id)
    receipt = None
    if job.ended:
        try:
            receipt = client.jobs.receipt(job_id)
        except (Conflict, NotFound):  # not written yet
            receipt = None
    return Page(
        job,
        client.jobs.attempts(job_id),
        client.jobs.checkpoints(job_id),
        _loss(client, job_id),
        receipt,
        tuple(a for a in client.jobs.artifacts(job_id) if a.kind != "checkpoint"),
    )


def _loss(client: Client, job_id: str) -> MetricSeries | None:
    keys = [summary.key for summary in client.jobs.metrics(job_id)]
    named = [key for key in keys if "loss" in key.lower()]
    key = "loss" if "loss" in keys else next(iter(named), None)
    return client.jobs.series(job_id, key, max_points=200) if key else None


def page(data: Page) -> RenderableType:
    """Return the page."""
    job = data.job
    head = Text.assemble(cell(job.id, "bold"), "  ", cell(job.name or ""), "  ", state(job.state))
    if job.reason:
        head.append_text(Text.assemble("  ", cell(job.reason, "dim")))
    parts: list[RenderableType] = [head, cell(" ".join(job.command), "dim")]
    if job.resources:
        parts.append(cell(resources(job), "dim"))
    if job.message:
        parts.append(cell(job.message))
    parts.append(Text(" → ").join(timeline(job, data.attempts)))
    parts.extend(_waiting(job))
    parts.extend(_progress(job, data.loss))
    if data.attempts:
        parts += [Text(), _attempts(data.attempts)]
    if data.artifacts:
        parts += [Text(), _artifacts(data.artifacts)]
    if data.checkpoints:
        parts += [Text(), _checkpoints(data.checkpoints)]
    if data.receipt:
        parts += [Text(), receipt(data.receipt)]
    return Group(*parts)


def timeline(job: Job, attempts: tuple[Attempt, ...]) -> list[Text]:
    """Return the states the Job went through, each with its time and how long it lasted."""
    points = [*_points(job, attempts)]
    found: list[Text] = []
    for index, (word, at) in enumerate(points):
        follows = points[index + 1][1] if index + 1 < len(points) else None
        spent = between(at, follows)
        text = Text.assemble(cell(word, "bold"), " ", when(at))
        if spent is not None:
            text.append(f" ({lasted(max(0.0, spent))})", "dim")
        found.append(text)
    return found


def _points(job: Job, attempts: tuple[Attempt, ...]) -> Iterator[tuple[str, datetime]]:
    if job.created_at:
        yield "queued", job.created_at
    for attempt in attempts:
        number = f" #{attempt.number}" if len(attempts) > 1 else ""
        if attempt.leased_at:
            yield "leased" + number, attempt.leased_at
        if attempt.started_at:
            yield "running" + number, attempt.started_at
        if attempt.ended_at and attempt is not attempts[-1]:
            yield attempt.state.lower() + number, attempt.ended_at
    if job.ended_at:
        yield job.state.lower(), job.ended_at
    elif attempts and attempts[-1].ended_at:
        yield job.state.lower(), attempts[-1].ended_at


def _waiting(job: Job) -> Iterator[Text]:
    if job.ended or job.wait_reason is None:
        return
    yield Text.assemble(("waiting: ", "yellow"), cell(job.wait_reason.detail))
    if job.wait_reason.fix:
        yield Text.assemble(("fix:     ", "yellow"), cell(job.wait_reason.fix))


def _progress(job: Job, loss: MetricSeries | None) -> Iterator[Text]:
    if job.progress:
        yield Text(progress_line(job), "cyan")
    values = [p.value for p in loss.points if p.value is not None] if loss else []
    if loss and values:
        yield Text.assemble(
            cell(loss.key),
            "  ",
            (sparkline(values), "cyan"),
            f"  {values[0]:.4g} → {values[-1]:.4g}",
        )


def progress_line(job: Job) -> str:
    """Return epoch, step and loss, as far as they are known."""
    now = job.progress
    if now is None:
        return ""
    pieces = []
    if now.epoch is not None:
        total = f"/{now.epoch_total:g}" if now.epoch_total is not None else ""
        pieces.append(f"epoch {now.epoch:g}{total}")
    if now.step is not None:
        pieces.append(f"step {now.step:g}")
    if now.loss is not None:
        pieces.append(f"loss {now.loss:.4g}")
    return "  ".join(pieces)


def _attempts(attempts: tuple[Attempt, ...]) -> RenderableType:
    heads = ("attempt", "state", "reason", "pool", "started", "took", "exit", "resumed from step")
    return table(
        heads,
        (
            (
                a.number,
                state(a.state),
                a.reason,
                f"{a.pool} (fallback)" if a.fallback else a.pool,
                when(a.started_at),
                lasted(a.runtime_ms / 1000 if a.ended_at and a.runtime_ms is not None else None),
                a.exit_code if a.signal is None else f"signal {a.signal}",
                a.resumed_step,
            )
            for a in attempts
        ),
    )


def resources(job: Job) -> str:
    """Return what the Job asked for, in one line."""
    want = job.resources
    if want is None:
        return ""
    pieces = [f"{want.cpus:g} CPU{'' if want.cpus == 1 else 's'}", size(want.memory_bytes)]
    if want.gpus:
        pieces.append(f"{want.gpus} × {want.gpu_type or 'GPU'}")
    if job.pool:
        pieces.append(f"pool {job.pool}")
    if job.max_runtime_s:
        pieces.append(f"at most {lasted(job.max_runtime_s)}")
    return ", ".join(pieces)


def _artifacts(found: tuple[Artifact, ...]) -> RenderableType:
    files = [(file.path, size(file.size_bytes)) for one in found for file in one.files]
    shown = files[:_FILES]
    if len(files) > len(shown):
        shown.append((f"… {len(files) - len(shown)} more: see jobs artifacts", ""))
    return table(("file", "size"), shown)


def _checkpoints(found: tuple[Artifact, ...]) -> RenderableType:
    rows = (
        (c.id, c.step, size(c.size_bytes), c.n_files, when(c.created_at), "yes" if c.pinned else "")
        for c in found
    )
    return table(("checkpoint", "step", "size", "files", "made", "pinned"), rows)


def receipt(found: Receipt) -> RenderableType:
    """Return a receipt as a table of two columns."""
    pool = found.pool if not found.fallback else f"{found.pool}, ran on {found.pool_used}"
    rows = [
        ("waited", lasted(found.queued_s)),
        ("useful", lasted(found.useful_s)),
        ("lost", lasted(found.lost_s)),
        ("attempts", found.n_attempts),
        ("pool", pool),
        ("price per hour", credits(found.price_ucredits_per_hour)),
        ("held", credits(found.held_ucredits)),
        ("captured", Text(credits(found.captured_ucredits), "bold")),
        ("released", credits(found.released_ucredits)),
    ]
    if found.refunded_ucredits:
        rows.append(("refunded", credits(found.refunded_ucredits)))
    return table(("receipt", "credits and time"), rows)
