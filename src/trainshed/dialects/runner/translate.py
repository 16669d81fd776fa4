"""``wire.v1`` ↔ the domain, both ways, pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from trainshed.domain.artifact import Artifact, ArtifactKind, BlobRef, FileRef
from trainshed.domain.attempt import Ending, Start
from trainshed.domain.environment import FRAMEWORKS, Environment
from trainshed.domain.errors import InvalidInput
from trainshed.domain.image import parse_image
from trainshed.domain.job import Network
from trainshed.ports.deps import Environments, Policy
from trainshed.ports.streams import Point
from trainshed.usecases.attempts import Work
from trainshed.usecases.submit import FALLBACK_NOTE
from trainshed.wire import v1

INT64 = 2**63
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ODD = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_assignment(
    work: Work, env: Mapping[str, str], token: str, python: str, policy: Policy, api_url: str
) -> v1.Assignment:
    """Return the Assignment. ``env`` is decrypted here and nowhere else."""
    spec, attempt = work.job.spec, work.attempt
    host_network = policy.loopback_only and work.n_people <= 1
    network, note = network_of(spec.network, host_network)
    alone = work.n_people <= 1 or not policy.require_isolation
    log = [note] if note else []
    if spec.resources.gpus and not attempt.devices:
        log.append(FALLBACK_NOTE)
    environment = spec.environment
    mapped = policy.images.get(environment.value) if environment.kind == "image" else None
    if mapped is not None:
        log.append(f"Image {environment.value}: a local environment of this server stands for it.")
        environment, python = Environment(), mapped
    elif environment.kind == "default":
        python = policy.environments.interpreters.get(environment.framework, python)
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
        environment=environment_of(
            environment, attempt.account_id, policy.environments, host_network
        ),
        sandbox={
            "kind": "auto",
            "uid": policy.first_uid + attempt.slot,
            "network": network,
            "minimum": "none" if alone else "partial",
            "read_only": [],
            "bench": work.bench,
        },
        container={} if mapped else _container(work, policy),
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
        checkpoint_every_epochs=spec.checkpoint_every_epochs,
        system_log=log,
        api_url=api_url,
        volume=spec.checkpoint_path,
        resume_flag=spec.resume_flag,
        resuming=work.resuming,
        cache={"name": work.cache, "account": attempt.account_id} if work.cache else {},
    )


def environment_of(
    asked: Environment, account_id: str, how: Environments, host_network: bool
) -> dict[str, Any]:
    """Return what the runner must know to find or build the environment."""
    framework = {
        "name": asked.framework,
        "package": FRAMEWORKS.get(asked.framework, ("", ""))[1],
        "modules": dict(FRAMEWORKS.values()),
    }
    mapped = asked.kind == "default" and asked.framework in how.interpreters
    found: dict[str, Any] = {
        "kind": asked.kind,
        "value": asked.value,
        "framework": framework if asked.framework else None,
        "mapped": mapped,
        "account": account_id,
    }
    if asked.kind == "requirements":
        found |= {
            "sdists": host_network if how.sdists is None else how.sdists,
            "build_s": how.build_s,
            "max_bytes": how.max_bytes,
            "pip": dict(how.pip),
        }
    return found


def _container(work: Work, policy: Policy) -> dict[str, Any]:
    """Return what a runner needs for an image, without its login; {} outside containers.

    What one account pulled with its login must not serve another: with several people the
    registry is asked each time, and gives only what did not change.
    """
    environment = work.job.spec.environment
    if environment.kind != "image":
        return {}
    image = parse_image(environment.value)
    pull = "always" if policy.image_pull == "missing" and work.n_people > 1 else policy.image_pull
    if work.image_digest and pull == "always":
        pull = "missing"  # an earlier Attempt was given it; a digest that a user wrote is no proof
    return {
        "name": image.name,
        "reference": image.reference,
        "engine": policy.container_engine,
        "pull": pull,
        "digest": work.image_digest or image.digest,
        "credentials": None,
    }


def to_digest(data: Mapping[str, Any]) -> str | None:
    """Return the image digest that a runner reports, if it is one."""
    found = data.get("image_digest")
    return found if isinstance(found, str) and _DIGEST.fullmatch(found) else None


def network_of(asked: Network, alone: bool) -> tuple[str, str]:
    """Return the network a job gets and the sentence that says so when it is not what was asked
    (D17).
    """
    if asked is Network.NONE:
        return "none", ""
    if asked in (Network.DEFAULT, Network.HOST) and alone:
        return "host", ""
    if asked is Network.HOST:
        return "egress", "Network: not the host's, which is only for one person on loopback."
    return "egress", ""


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


def to_start(data: Mapping[str, Any]) -> Start:
    """Return the start that a runner reports.

    Raises:
        InvalidInput: a word is none of the protocol's.
    """
    isolation = str(data.get("isolation", "none"))
    if isolation not in ("strong", "partial", "none"):
        raise InvalidInput("isolation must be strong, partial or none.")
    network = data.get("network")
    if network not in (None, "host", "egress", "none"):
        raise InvalidInput("network must be host, egress or none.")
    age = data.get("age_ms", 0)
    if isinstance(age, bool) or not isinstance(age, int) or not 0 <= age < 2**53:
        raise InvalidInput("age_ms must be a whole number of milliseconds.")
    return Start(isolation, network, to_digest(data), age)


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
        int(done.runtime_ms), str(done.message)[:4000], to_digest(data),
        to_start(done.started) if isinstance(done.started, dict) else None,
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
