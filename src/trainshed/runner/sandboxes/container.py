"""What podman and docker are told alike: pure argument builders over one ``Crate``.

Nothing of the server is mounted, no secret is an argument, and every value stands in a place where
it cannot be read as an option.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

#: Where the job's folders are inside: a container's own tree may hide any path of the host.
INSIDE = "/trainshed"
LIBRARY = f"{INSIDE}/lib"
TMP = "/tmp"  # noqa: S108  inside the container


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine's program. ``env``: all that it gets of an environment."""

    kind: str
    program: str
    env: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def call(self, *words: str) -> list[str]:
        """Return the arguments of one of its commands."""
        return [self.program, *self.options, *words]


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of the host, shown at ``target``."""

    source: str
    target: str
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class Crate:
    """One job's container. ``image``: the id of one that is there. ``user``: ``UID:GID``.

    ``env_file``, ``pid_file``: paths on the host. ``limits``: as ``Assignment.limits``.
    ``ulimits``: name -> (soft, hard). ``init``: have the engine's own init as the first process,
    so that SIGTERM ends what does not handle it and orphans are reaped.
    """

    name: str
    image: str
    mounts: tuple[Mount, ...]
    env_file: str
    pid_file: str
    user: str
    rootless: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str = "none"
    dns: str = ""
    limits: Mapping[str, int] = field(default_factory=dict)
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    init: bool = True


#: A volume may not stand for these: the image's programs, and what the engine itself mounts.
RESERVED = frozenset(
    {"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys",
     "tmp", "trainshed", "usr"}
)  # fmt: skip
MAX_DEPTH = 32


def can_show(path: str) -> bool:
    """Return whether a volume can be shown at ``path``: absolute, plain, apart from the rest."""
    parts = path.split("/")
    if not path.startswith("/") or len(parts) > MAX_DEPTH or not path.isprintable():
        return False
    return parts[1] not in RESERVED and not {"", ".", ".."} & set(parts[1:])


def flags(crate: Crate) -> list[str]:
    """Return the options of ``run`` that both engines read alike."""
    args = [
        f"--name={crate.name}", "--pull=never", "--log-driver=none", "--entrypoint=",
        "--cap-drop=all", "--security-opt=no-new-privileges", "--read-only", "--no-healthcheck",
        "--hostname=job", f"--workdir={INSIDE}/work", f"--env-file={crate.env_file}",
        f"--network={crate.network}",
    ]  # fmt: skip
    if crate.dns:
        args.append(f"--dns={crate.dns}")
    args += [f"--label={name}={value}" for name, value in crate.labels.items()]
    args += [mount(one) for one in crate.mounts]
    args += [f"--ulimit={name}={low}:{high}" for name, (low, high) in crate.ulimits.items()]
    if crate.init:
        args.append("--init")
    memory = crate.limits.get("memory_bytes")
    if memory:
        args += [f"--memory={memory}b", f"--memory-swap={memory}b", f"--shm-size={memory}b"]
    if crate.limits.get("millicpus"):
        args.append(f"--cpus={crate.limits['millicpus'] / 1000:g}")
    if crate.limits.get("pids"):
        args.append(f"--pids-limit={crate.limits['pids']}")
    return args


def mount(one: Mount) -> str:
    """Return the option that binds a folder; a comma or quote in a path stays part of it."""
    fields = ["type=bind", f"source={one.source}", f"target={one.target}"]
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([*fields, *(["readonly"] * one.readonly)])
    return f"--mount={out.getvalue()}"


def remove(engine: Engine, name: str) -> list[str]:
    """Return the arguments that kill and remove a container; one that is gone is fine."""
    words = ["--time=0", "--ignore"] if engine.kind == "podman" else []
    return engine.call("rm", "--force", "--volumes", *words, name)


def env_lines(env: Mapping[str, str]) -> str:
    """Return the text of an env file.

    Raises:
        ValueError: naming the variable that such a file cannot hold.
    """
    for name, value in env.items():
        if "\n" in value or "\r" in value or len(value) > MAX_VALUE:
            raise ValueError(name)
    return "".join(f"{name}={value}\n" for name, value in env.items())


#: Engines read an env file by lines of at most 64 KiB.
MAX_VALUE = 60_000
