"""``wire.v1`` ↔ the domain, both ways, pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from trainshed.domain.artifact import Artifact, ArtifactKind, BlobRef, FileRef
from trainshed.domain.attempt import Ending
from trainshed.domain.errors import InvalidInput
from trainshed.domain.job import Environment, Network
from trainshed.ports.deps import Policy
from trainshed.ports.streams import Point
from trainshed.usecases.attempts import Work
from trainshed.usecases.submit import FALLBACK_NOTE
from trainshed.wire import v1

INT64 = 2**63
_ODD = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_assignment(
    work: Work, env: Mapping[str, str], token: str, python: str, policy: Policy, api_url: str
) -> v1.Assignment:
    """Return the Assignment. ``env`` is decrypted here and nowhere else."""
    spec, attempt = work.job.spec, work.attempt
    network, note = network_of(spec.network, policy.loopback_only and work.n_people <= 1)
    alone = work.n_people <= 1 or not policy.require_isolation
    log = [note] if note else []
    if spec.resources.gpus and not attempt.devices:
        log.append(FALLBACK_NOTE)
    environment = spec.environment
    mapped = policy.images.get(environment.value) if environment.kind == "image" else None
    if mapped is not None:
        log.append(f"Image {environment.value}: a local environment of this server stands for it.")
        environment, python = Environment(), mapped
    return v1.Assignment(
        attempt_id=attempt.id,
        job_id=work.job.id,
        number=attempt.number,
        job_token=token,
        command=list(spec.command),
        python=python,
        env=dict(env),
        inputs=[_file(path, ref, unpack) for path, ref, unpack in work.inputs],
        resume=_resume(work.resume),
        environment={"kind": environment.kind, "value": environment.value},
        sandbox={
            "kind": "auto",
            "uid": policy.first_uid + attempt.slot,
            "network": network,
            "minimum": "none" if alone else "partial",
            "read_only": [],
        },
        limits={
            "millicpus": attempt.millicpus,
            "memory_bytes": attempt.memory_bytes,
            "max_runtime_ms": max(work.remaining_ms, 1),
            "log_bytes": policy.log_limit_bytes,
            "disk_bytes": policy.max_artifact_bytes,
            "pids": 4096,
        },
        devices=list(attempt.devices),
        grace_s=spec.grace_s,
        heartbeat_s=policy.lease.heartbeat_s,
        system_log=log,
        api_url=api_url,
        volume=spec.checkpoint_path,
        resume_flag=spec.resume_flag,
        resuming=work.resuming,
    )


def network_of(asked: Network, alone: bool) -> tuple[str, str]:
    """Return the network a job gets and the sentence that says so when it is not what was asked
    (D17).
    """
    if asked is Network.NONE:
        return "none", ""
    if asked in (Network.DEFAULT, Network.HOST) and alone:
        return "host", ""
    if asked is Network.DEFAULT:
        return "none", "Network: none (several people share this server)."
    return "none", f"Network: none; {asked} is not available here."


def to_points(data: Mapping[str, Any]) -> list[Point]:
    """Return the points of a metrics message.

    Raises:
        InvalidInput: not the shape of the protocol, or a step beyond 64 bits.
    """
    try:
        rows: Sequence[Any] = data["points"]
        if len(rows) > v1.MAX_POINTS:
            raise InvalidInput(f"More than {v1.MAX_POINTS} points in one message.")
        return [_point(*row) for row in rows]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidInput("points must be [key, step, at_ms, value] rows.") from error


def _point(key: Any, step: Any, at_ms: Any, value: Any) -> Point:
    if not isinstance(key, str) or not 0 < len(key) <= 200:
        raise ValueError("key")
    if not -INT64 <= step < INT64 or not 0 <= at_ms < INT64:
        raise ValueError("step")
    number = _ODD[value] if isinstance(value, str) else float(value)
    return Point(key, int(step), int(at_ms), number)


def to_artifact(data: Mapping[str, Any], artifact_id: str, now: datetime) -> tuple[Artifact, int]:
    """Return the draft of a collected set and the run time it covers, in ms.

    Raises:
        InvalidInput: not the shape of the protocol.
    """
    try:
        message = v1.Collected.from_json(dict(data))
        files = tuple(
            FileRef(
                str(f["path"]),
                BlobRef(str(f["md5"]), str(f["sha256"]), int(f["size_bytes"])),
                bool(f.get("executable", False)),
            )
            for f in message.files
        )
        kind = ArtifactKind(message.kind)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput("This is no collected set of files.") from error
    draft = Artifact(artifact_id, "", "", "", kind, "", files, now, message.step)
    return draft, message.runtime_ms


def to_ending(data: Mapping[str, Any]) -> Ending:
    """Return the end that a runner reports.

    Raises:
        InvalidInput: not the shape of the protocol.
    """
    try:
        done = v1.Finished.from_json(dict(data))
    except TypeError as error:
        raise InvalidInput("finished needs at least a cause.") from error
    if done.cause == "lost":
        raise InvalidInput("A runner cannot report itself lost.")
    return Ending(
        done.cause, done.exit_code, done.signal, done.stopped_by,
        int(done.runtime_ms), str(done.message)[:4000],
    )  # fmt: skip


def _file(path: str, ref: FileRef, unpack: bool) -> dict[str, Any]:
    return {
        "path": path,
        "size_bytes": ref.blob.size_bytes,
        "md5": ref.blob.md5,
        "sha256": ref.blob.sha256,
        "unpack": unpack,
        "executable": ref.executable,
    }


def _resume(point: Artifact | None) -> dict[str, Any] | None:
    if point is None:
        return None
    files = [_file(f.path, f, False) for f in point.files]
    return {"artifact_id": point.id, "step": point.step, "files": files}
