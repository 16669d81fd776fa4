"""Starting the user's process: its environment, its program, its sandbox, its first moment."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainshed.runner.limits import Cgroup, apply_rlimits
from trainshed.runner.sandboxes import Box, Choice, Host, bare, bwrap
from trainshed.runner.tree import children
from trainshed.runner.workspace import Workspace
from trainshed.wire.v1 import Assignment

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class StartFailed(Exception):
    """The user's process could not be started; the text is for its owner.

    ``cause`` is that of ``wire.v1.Finished``.
    """

    def __init__(self, message: str, cause: str = "start_failed") -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Inside:
    """A container's first process; 0 when it has ended already."""

    pid: int = 0
    pidfd: int = -1


@dataclass(frozen=True, slots=True)
class Spawned:
    """The runner's child. ``wrapped``: it is bwrap or a container engine's client, whose exit
    codes above 128 mean signals. ``inside``: of a container only.
    """

    pid: int
    pidfd: int
    wrapped: bool
    inside: Inside | None = None


def environment(
    job: Assignment, place: Workspace, library: str, tmp: str, checkpoints: str = ""
) -> dict[str, str]:
    """Return the job's environment: the documented names and its owner's, nothing of the
    server's. ``checkpoints``: where the job sees its checkpoint directory.
    """
    checkpoints = checkpoints or place.checkpoints
    fixed = {
        "TRAINSHED_JOB_ID": job.job_id,
        "TRAINSHED_ATTEMPT": str(job.number),
        "TRAINSHED_INPUT_DIR": place.work,
        "TRAINSHED_OUTPUT_DIR": place.output,
        "TRAINSHED_CHECKPOINT_DIR": checkpoints,
        "TRAINSHED_API_URL": job.api_url,
        "TRAINSHED_TOKEN": job.job_token,
        "CUDA_VISIBLE_DEVICES": ",".join(job.devices),
    }
    if job.resume is not None and job.resuming:
        fixed["TRAINSHED_RESUME_FROM"] = resume_path(job, place, checkpoints)
    own = {
        "CHECKPOINT_DIR": checkpoints,
        "JOB_ID": job.job_id,
        "HOME": place.tmp,
        "TMPDIR": tmp,
        "PATH": f"{os.path.dirname(job.python)}:{SYSTEM_PATH}",
        "PYTHONPATH": library,
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
    }
    out = {**own, **job.env, **fixed}
    if library and out["PYTHONPATH"] != library:
        out["PYTHONPATH"] = f"{out['PYTHONPATH']}:{library}"
    return {name: value for name, value in out.items() if name and "=" not in name}


def resume_path(job: Assignment, place: Workspace, checkpoints: str) -> str:
    """Return where the job sees what it resumes from: a volume begins with it."""
    return checkpoints if job.volume else place.resume


def command(job: Assignment, place: Workspace, checkpoints: str) -> list[str]:
    """Return the command, with the flag that its owner's script resumes by, if it resumes."""
    if job.resume is None or not job.resuming or not job.resume_flag:
        return job.command
    return [*job.command, job.resume_flag, resume_path(job, place, checkpoints)]


def resolve(
    job: Assignment, place: Workspace, path: str, visible: Sequence[str] | None,
    checkpoints: str = "",
) -> list[str]:  # fmt: skip
    """Return the command with its program's full path, as ``command`` says.

    ``visible``: what the sandbox shows, or None if it shows everything.

    Raises:
        StartFailed: there is no such program, or it cannot be run.
    """
    if not job.command or not job.command[0]:
        raise StartFailed("The command is empty; give the program to run and its arguments.")
    name = job.command[0]
    if name in ("python", "python3"):
        found: str | None = job.python
    elif "/" in name:
        found = name if name.startswith("/") else os.path.join(place.work, name)
    else:
        found = _on_path(name, path)
    if found is None or not os.path.exists(found):
        raise StartFailed(_not_found(name, place))
    if visible is not None and not _is_below(found, visible):
        raise StartFailed(
            f"The program {name!r} exists on this machine, but the job's sandbox does not show it; "
            "upload it with the inputs or use the job's environment."
        )
    if os.path.isdir(found) or not os.access(found, os.X_OK):
        raise StartFailed(
            f"{name!r} is not executable; start it with its interpreter, for example "
            f"'python {name}', or make it executable before it is uploaded."
        )
    return [found, *command(job, place, checkpoints or place.checkpoints)[1:]]


def start(
    host: Host, choice: Choice, box: Box, command: Sequence[str], env: Mapping[str, str],
    logs: tuple[int, int], group: Cgroup, limits: Mapping[str, int],
) -> Spawned:  # fmt: skip
    """Start the user's process from the runner's main thread, its limits set before it runs.

    Raises:
        StartFailed: the kernel refused, with its reason in words.
    """
    builder = bwrap if choice.kind == "bwrap" else bare
    group.enter()
    os.chdir(box.work)
    try:
        pid = spawn(builder.arguments(host, box, command), env, logs)
    finally:
        os.chdir("/")
        group.leave()
    for one in (pid, *children(pid)):
        apply_rlimits(one, limits, choice.uid is not None)
    return Spawned(pid, os.pidfd_open(pid), choice.kind == "bwrap")


def spawn(args: list[str], env: Mapping[str, str], logs: tuple[int, int]) -> int:
    """Start a program in a session of its own, its output in the logs; return its pid.

    Raises:
        StartFailed: the kernel refused.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, logs[0], 1),
        (os.POSIX_SPAWN_DUP2, logs[1], 2),
    ]
    try:
        return os.posix_spawn(
            args[0], args, env, file_actions=actions, setsid=True, setsigdef=_RESET
        )
    except OSError as error:
        raise StartFailed(f"{args[0]!r} cannot be started: {error.strerror}.") from error


_RESET = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


def refused(end_code: int | None, stderr: bytes) -> str | None:
    """Return why the sandbox could not start the program, if that is how it ended."""
    if end_code in (1, 126, 127) and stderr.startswith(_STARTERS):
        return stderr.split(b"\n")[0].decode("utf-8", "replace")
    return None


_STARTERS = (b"bwrap: ", b"setpriv: ", b"unshare: ", b"ERROR (catatonit", b"[FATAL tini")


def _on_path(name: str, path: str) -> str | None:
    for folder in path.split(":"):
        found = f"{folder}/{name}"
        if folder and os.path.isfile(found) and os.access(found, os.X_OK):
            return found
    return None


def _is_below(path: str, folders: Sequence[str]) -> bool:
    clean = os.path.normpath(path)
    return any(clean == one or clean.startswith(f"{one.rstrip('/')}/") for one in folders)


def _not_found(name: str, place: Workspace) -> str:
    if "/" not in name and os.path.exists(f"{place.work}/{name}"):
        return f"The program {name!r} was not found on PATH; it is in the inputs: write './{name}'."
    return (
        f"The program {name!r} was not found; is it in the inputs? A path is read from the working "
        "directory, where the inputs lie; a bare name from the environment's PATH."
    )
