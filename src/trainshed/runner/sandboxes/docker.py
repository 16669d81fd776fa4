"""The docker command line: the daemon is root, so the job always gets a uid that is not."""

from __future__ import annotations

from collections.abc import Sequence

from trainshed.runner.sandboxes.container import Crate, Engine, flags


def run(engine: Engine, crate: Crate, command: Sequence[str]) -> list[str]:
    """Return the arguments that run ``command`` in the foreground; the container stays, so that
    the daemon can be asked how it ended.
    """
    args = ["run", *flags(crate), f"--user={crate.user}"]
    if crate.devices:
        args.append(f'--gpus="device={",".join(crate.devices)}"')
    return [*engine.call(*args), crate.image, *command]


def pull(engine: Engine, reference: str) -> list[str]:
    """Return the arguments that pull an image; the logins are those of ``options``."""
    return engine.call("pull", "--quiet", "--", reference)


def options(auth: str) -> tuple[str, ...]:
    """Return the options that make it read its logins from the folder ``auth`` only."""
    return (f"--config={auth}",)
