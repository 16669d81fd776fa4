"""The podman command line: as root with the job's own uid, else rootless with the runner's."""

from __future__ import annotations

from collections.abc import Sequence

from trainshed.runner.sandboxes.container import Crate, Engine, flags


def run(engine: Engine, crate: Crate, command: Sequence[str]) -> list[str]:
    """Return the arguments that run ``command`` in the foreground and remove the container."""
    args = ["run", "--rm", f"--pidfile={crate.pid_file}", *flags(crate)]
    # The host's proxies may carry passwords; an image's volumes would be unlimited disk.
    args += ["--http-proxy=false", "--image-volume=tmpfs"]
    args += ["--userns=keep-id"] if crate.rootless else [f"--user={crate.user}"]
    args += [f"--device=nvidia.com/gpu={name}" for name in crate.devices]
    return [*engine.call(*args), crate.image, *command]


def pull(engine: Engine, reference: str, auth: str) -> list[str]:
    """Return the arguments that pull an image with the logins of the file ``auth`` only."""
    return engine.call("pull", "--quiet", f"--authfile={auth}/config.json", "--", reference)


def options(hybrid: bool, root: bool, runc: bool) -> tuple[str, ...]:
    """Return the engine's own options for this machine.

    ``hybrid``: control groups of both versions, which crun refuses and runc does not. As root the
    groups are made by the engine itself: systemd may not be there.
    """
    out = ("--cgroup-manager=cgroupfs",) if root else ()
    return (*out, "--runtime=runc") if hybrid and runc else out
