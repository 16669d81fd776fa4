"""Jobs as tables and lines. Words of strangers pass ``render.cell`` or ``plain``, never markup."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from middleman.models import Job, JobDetail, JobStatus
from trainshed_client.cli.render import between, cell, lasted, table, when

_STYLES = {
    JobStatus.QUEUED: "yellow",
    JobStatus.PROVISIONING: "yellow",
    JobStatus.RUNNING: "cyan",
    JobStatus.PAUSED: "magenta",
    JobStatus.CHECKPOINTING: "cyan",
    JobStatus.EVICTED: "magenta",
    JobStatus.RESUMING: "yellow",
    JobStatus.COMPLETED: "green",
    JobStatus.CANCELLED: "bright_black",
    JobStatus.FAILED: "red",
}


def status(value: JobStatus) -> Text:
    """Return a status in its colour."""
    return cell(value, _STYLES.get(value, ""))


def gpus(job: Job) -> str:
    """Return what it runs on, such as a100×2."""
    return f"{job.gpu_type}×{job.gpu_count}"


def epochs(job: Job) -> str:
    """Return how far it is; "" before the first epoch that it reports."""
    if not job.current_epoch and not job.total_epochs:
        return ""
    of = f"/{job.total_epochs}" if job.total_epochs else ""
    return f"epoch {job.current_epoch}{of}"


def loss(job: Job) -> str:
    """Return its last loss; "" while it has reported none."""
    return "" if job.current_loss is None else f"loss {job.current_loss:.4g}"


def progress(job: Job) -> str:
    """Return epochs and loss in one line."""
    return "  ".join(part for part in (epochs(job), loss(job)) if part)


def cost(job: Job) -> str:
    """Return what it cost, or at most will."""
    return f"{job.actual_cost:,}" if job.is_terminal else f"≤ {job.reserved_credits:,}"


def line(job: Job) -> Text:
    """Return status and progress in one line."""
    text = status(job.status)
    done = progress(job)
    return text.append(f"  {done}", style="default") if done else text


def jobs(found: Iterable[Job]) -> Table:
    """Return a list of jobs."""
    rows = (
        (j.id[:8], j.name, status(j.status), gpus(j), progress(j), cost(j), when(j.created_at))
        for j in found
    )
    return table(("ID", "Name", "Status", "GPU", "Progress", "Cost", "Created"), rows)


def job(found: JobDetail) -> Table:
    """Return one job with all that is known of it."""
    duration = found.duration_seconds or between(found.started_at, found.completed_at)
    names = ", ".join(sorted(found.environment_variables))
    rows = [
        ("name", found.name),
        ("status", status(found.status)),
        ("why", found.status_message),
        ("error", found.error_message),
        ("progress", progress(found)),
        ("gpu", gpus(found)),
        ("framework", found.framework),
        ("script", found.script_path),
        ("data", found.input_data_path),
        ("requirements", found.requirements_file),
        ("environment", names),
        ("at most", f"{found.max_runtime_hours} h"),
        ("checkpoint every", f"{found.checkpoint_frequency} epochs"),
        ("credits reserved", None if found.completed_at else f"{found.reserved_credits:,}"),
        ("credits used", f"{found.actual_cost:,}"),
        ("region", found.current_region),
        ("retries", f"{found.retry_count} of {found.max_retries}" if found.retry_count else None),
        ("created", when(found.created_at)),
        ("started", when(found.started_at) if found.started_at else None),
        ("ended", when(found.completed_at) if found.completed_at else None),
        ("ran for", lasted(duration) if duration is not None else None),
    ]
    return table(("job", found.id), [row for row in rows if row[1]])
