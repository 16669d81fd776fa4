"""The native words ↔ the domain, both ways, pure."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from trainshed.dialects.native import answers, schema
from trainshed.domain import people
from trainshed.domain.artifact import Artifact
from trainshed.domain.attempt import Attempt
from trainshed.domain.environment import Environment
from trainshed.domain.errors import InvalidInput
from trainshed.domain.events import Event
from trainshed.domain.job import InputRef, JobSpec, Network
from trainshed.domain.receipt import Receipt
from trainshed.domain.resources import Pool, Resources
from trainshed.domain.retry import RetryPolicy
from trainshed.domain.waiting import WaitReason
from trainshed.ports.store import Upload
from trainshed.ports.streams import Bucket, Point
from trainshed.ports.views import (
    JobView,
    LogSlice,
    OfferView,
    PlanView,
    SeriesView,
)
from trainshed.usecases import metrics
from trainshed.usecases.submit import SubmitJob

MASK = "***"
#: A bucket may become this many points: its two extremes, and one that is no number.
PER_BUCKET = 3


def to_command(body: schema.JobBody, principal: people.Principal) -> SubmitJob:
    """Return the command of a JobSpec.

    Raises:
        InvalidInput: a command string with an open quotation.
    """
    command = _command(body.command)
    wants = body.resources
    spec = JobSpec(
        workload=body.workload,
        params=body.params,
        command=command,
        inputs=tuple(InputRef(i.source, i.ref, i.path, i.unpack) for i in body.inputs),
        environment=Environment(
            body.environment.kind, body.environment.value, body.environment.framework
        ),
        resources=Resources(
            round(wants.cpus * 1000), wants.memory_bytes, wants.gpus, wants.gpu_type
        ),
        max_runtime_s=body.max_runtime_s,
        retry=RetryPolicy(body.retry.max_retries, body.retry.backoff_s, body.retry.max_backoff_s),
        priority=body.priority,
        network=Network(body.network),
        labels=body.labels,
        grace_s=body.grace_s,
        checkpoint_every_epochs=body.checkpoint_every_epochs,
    )
    return SubmitJob(principal, body.name or _name(command), spec, body.env)


def _command(given: str | list[str]) -> tuple[str, ...]:
    if isinstance(given, list):
        return tuple(given)
    try:
        return tuple(shlex.split(given))
    except ValueError as error:
        raise InvalidInput(
            "command has an open quotation; send an array to have it taken as it is.",
            field="command",
        ) from error


def _name(command: Sequence[str]) -> str:
    """Name a Job after its script, else its program."""
    scripts = [part for part in command if part.endswith(".py")]
    text = (scripts or list(command[:1]) or ["job"])[0].rsplit("/", 1)[-1]
    plain = "".join(c for c in text if c.isprintable()).removesuffix(".py")
    return plain[:200] or "job"


def to_job(view: JobView) -> answers.Job:
    """Return a Job as its owner sees it."""
    job, spec = view.job, view.job.spec
    return answers.Job(
        id=job.id,
        name=job.name,
        state=job.state.value,
        reason=_value(job.reason),
        message=job.message,
        intent=job.intent.value,
        dialect=job.dialect,
        workload=spec.workload,
        params=dict(spec.params),
        command=list(spec.command),
        inputs=[
            {"source": i.source, "ref": i.ref, "path": i.path, "unpack": i.unpack}
            for i in spec.inputs
        ],
        env=dict.fromkeys(spec.env_names, MASK),
        environment={
            "kind": spec.environment.kind,
            "value": spec.environment.value,
            "framework": spec.environment.framework,
        },
        resources=to_resources(spec.resources),
        max_runtime_s=spec.max_runtime_s,
        retry=to_retry(spec.retry),
        priority=spec.priority,
        network=spec.network.value,
        labels=dict(spec.labels),
        grace_s=spec.grace_s,
        checkpoint_every_epochs=spec.checkpoint_every_epochs,
        pool=job.pool,
        retry_of=job.retry_of,
        created_at=job.created_at,
        not_before=job.not_before,
        started_at=job.started_at,
        ended_at=job.ended_at,
        n_attempts=job.n_attempts,
        retries_used=job.retries_used,
        wait_reason=to_wait(view.wait) if view.wait else None,
        attempt=to_attempt(view.attempt, job.pool) if view.attempt else None,
        progress=to_progress(view.latest),
        held_ucredits=view.held_ucredits,
        captured_ucredits=view.captured_ucredits,
    )


def to_resources(wants: Resources) -> answers.Resources:
    """Return what a Job asked for."""
    return answers.Resources(
        cpus=wants.cpus,
        memory_bytes=wants.memory_bytes,
        gpus=wants.gpus,
        gpu_type=wants.gpu_type,
    )


def to_retry(policy: RetryPolicy) -> answers.Retry:
    """Return when a Job runs again by itself."""
    return answers.Retry(
        max_retries=policy.max_retries,
        backoff_s=policy.backoff_s,
        max_backoff_s=policy.max_backoff_s,
    )


def to_wait(wait: WaitReason) -> answers.WaitReason:
    """Return why it waits."""
    return answers.WaitReason(code=str(wait.code), detail=wait.detail, fix=wait.fix or None)


def to_attempt(one: Attempt, asked_pool: str) -> answers.Attempt:
    """Return one execution; it is a fallback when it ran in another pool than was asked for."""
    return answers.Attempt(
        id=one.id,
        number=one.number,
        state=one.state.value,
        reason=_value(one.reason),
        message=one.message,
        pool=one.pool,
        fallback=one.pool != asked_pool,
        offer_id=one.offer_id,
        devices=list(one.devices),
        cpus=one.millicpus / 1000,
        memory_bytes=one.memory_bytes,
        isolation=one.isolation,
        network=one.network,
        image_digest=one.image_digest,
        leased_at=one.leased_at,
        started_at=one.started_at,
        ended_at=one.ended_at,
        exit_code=one.exit_code,
        signal=one.signal,
        runtime_ms=one.runtime_ms,
        billable_ms=one.billable_ms,
        resumed_from=one.resumed_from,
        resumed_step=one.resumed_step,
    )


def to_progress(latest: Mapping[str, Point]) -> answers.Progress | None:
    """Return how far it is."""
    found = metrics.progress(latest)
    if found is None:
        return None
    return answers.Progress(
        epoch=found.epoch, epoch_total=found.epoch_total, step=found.step, loss=found.loss
    )


def to_plan(view: PlanView) -> answers.Plan:
    """Return what submitting would mean."""
    return answers.Plan(
        pool=view.pool.name,
        price_ucredits_per_hour=view.price_ucredits_per_hour,
        hold_ucredits=view.hold_ucredits,
        fallback=view.fallback,
        starts=to_wait(view.starts),
        position=view.outlook.position,
        estimated_start_at=view.outlook.starts_at,
        notes=list(view.notes),
    )


def to_receipt(receipt: Receipt) -> answers.Receipt:
    """Return the receipt: its fields are the domain's."""
    names = answers.Receipt.model_fields
    values = {name: getattr(receipt, name) for name in names}
    values["state"], values["reason"] = str(receipt.state), _value(receipt.reason) or None
    return answers.Receipt(**values)


def to_event(event: Event) -> answers.Event:
    """Return a fact."""
    return answers.Event(
        seq=event.seq,
        kind=event.kind,
        at=event.at,
        job_id=event.job_id,
        attempt_id=event.attempt_id,
        data=dict(event.data),
    )


def to_log(part: LogSlice) -> answers.Log:
    """Return a piece of a log as text; a character that is cut at its end is left for the next."""
    kept = whole(part.data)
    return answers.Log(
        stream=part.stream,
        attempt=part.attempt,
        offset=part.offset,
        next=part.offset + len(kept),
        size=part.size,
        truncated=part.truncated,
        text=kept.decode("utf-8", "replace"),
    )


def whole(data: bytes, rest: bool = True) -> bytes:
    """Return ``data`` without a UTF-8 character that is cut at its end.

    If nothing would be left, it is returned as it is with ``rest``, so that a reader always
    gets on; a follower, who knows that more comes, waits instead.
    """
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        need = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        cut = data[:-back] if need > back else data
        return cut if cut or not rest else data
    return data


def to_artifact(one: Artifact) -> answers.Artifact:
    """Return a committed set of files."""
    return answers.Artifact(
        id=one.id,
        kind=one.kind.value,
        attempt_id=one.attempt_id,
        digest=one.digest,
        size_bytes=one.size_bytes,
        n_files=len(one.files),
        step=one.step,
        pinned=one.pinned,
        created_at=one.created_at,
        files=[
            answers.File(
                path=f.path, size_bytes=f.blob.size_bytes, md5=f.blob.md5, sha256=f.blob.sha256
            )
            for f in one.files
        ],
    )


def flagged(value: float) -> tuple[float | None, str | None]:
    """Return (value, None), or (None, flag) of what JSON has no number for."""
    if math.isnan(value):
        return None, "nan"
    if math.isinf(value):
        return None, "inf" if value > 0 else "-inf"
    return value, None


def to_metric(key: str, n: int, latest: Point) -> answers.Metric:
    """Return a metric's summary."""
    value, flag = flagged(latest.value)
    newest = answers.Latest(step=latest.step, at=_ms(latest.at_ms), value=value, flag=flag)
    return answers.Metric(key=key, n=n, latest=newest)


def to_point(point: Point) -> dict[str, Any]:
    """Return a point for a follower."""
    value, flag = flagged(point.value)
    return {
        "key": point.key, "step": point.step, "at_ms": point.at_ms, "value": value, "flag": flag,
    }  # fmt: skip


def to_series(view: SeriesView) -> answers.Series:
    """Return a metric's points; buckets are merged so that no more points come than asked for."""
    if not view.buckets:
        rows = [_row(p.step, p.at_ms, p.value) for p in view.points]
        return answers.Series(key=view.key, points=rows, buckets=False)
    groups = [view.buckets[i : i + PER_BUCKET] for i in range(0, len(view.buckets), PER_BUCKET)]
    merged = [row for group in groups for row in _extremes(group)]
    return answers.Series(key=view.key, points=merged, buckets=True)


Row = list[int | float | str | None]


def _row(step: int, at_ms: int, value: float) -> Row:
    shown, flag = flagged(value)
    return [step, at_ms, shown] if flag is None else [step, at_ms, None, flag]


def _extremes(group: Sequence[Bucket]) -> Iterable[Row]:
    head = group[0]
    lows = [b.minimum for b in group if math.isfinite(b.minimum)]
    highs = [b.maximum for b in group if math.isfinite(b.maximum)]
    if lows and highs:
        yield [head.step, head.at_ms, min(lows)]
        if max(highs) != min(lows):
            yield [head.step, head.at_ms, max(highs)]
    if any(b.n_inf for b in group):
        yield [head.step, head.at_ms, None, "inf"]
    elif any(b.n_nan for b in group):
        yield [head.step, head.at_ms, None, "nan"]


def to_upload(one: Upload) -> answers.Upload:
    """Return a sent file."""
    return answers.Upload(
        id=one.id,
        path=one.path,
        size_bytes=one.size_bytes,
        md5=one.blob.md5 if one.blob else None,
        sha256=one.blob.sha256 if one.blob else None,
        created_at=one.created_at,
        completed_at=one.completed_at,
    )


def to_offer(view: OfferView) -> answers.Offer:
    """Return an offer and what is free of it."""
    offer, free = view.free.offer, view.free
    return answers.Offer(
        id=offer.id,
        executor=offer.executor,
        pool=offer.pool,
        gpu_type=offer.gpu_type,
        cpus=offer.millicpus / 1000,
        memory_bytes=offer.memory_bytes,
        gpus=len(offer.devices),
        free=answers.Free(
            cpus=free.millicpus / 1000, memory_bytes=free.memory_bytes, gpus=len(free.devices)
        ),
        price_ucredits=view.pool.price_ucredits,
        drained_at=view.drained_at,
    )


def to_pool(pool: Pool) -> answers.Pool:
    """Return a priced pool."""
    return answers.Pool(
        name=pool.name,
        gpu_type=pool.gpu_type,
        vram_bytes=pool.vram_bytes,
        price_ucredits=pool.price_ucredits,
        unit=pool.unit.value,
        price_per_job_ucredits=pool.per_job,
    )


def _ms(at_ms: int) -> datetime:
    """Return the time of a point; a clock that was never set must not break the answer."""
    return datetime.fromtimestamp(min(max(at_ms, 0), 253_402_300_799_000) / 1000, UTC)


def _value(reason: Any) -> str | None:
    return None if reason is None else str(reason)
