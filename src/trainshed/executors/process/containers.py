"""What a dead runner left in a container engine: its note says how to remove it."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

NOTE = "container.json"
REMOVE_S = 30.0


def removed(place: Path) -> bool:
    """Return True once no container of this workspace is left; False if its engine did not say so.

    The note lies beside the job's folders, where only the runner writes.
    """
    note = place / NOTE
    try:
        said = json.loads(note.read_bytes())
        args, env = [str(one) for one in said["remove"]], dict(said["env"])
    except (OSError, ValueError, KeyError, TypeError):
        return True
    try:
        done = subprocess.run(
            args, env=env, cwd="/", stdin=subprocess.DEVNULL, capture_output=True,
            timeout=REMOVE_S, start_new_session=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        return True  # the engine is no longer installed
    except (OSError, subprocess.TimeoutExpired):
        return False
    if done.returncode != 0 and b"o such container" not in done.stderr:
        return False
    with contextlib.suppress(FileNotFoundError):
        note.unlink()
    return True
