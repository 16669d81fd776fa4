"""A folder that the Jobs of one account share: what a closed workload builds once and needs again.

Only workloads that run none of the user's code have one. Each uid has its own, so that no job meets
files of another uid; the server keeps them below a limit.
"""

from __future__ import annotations

import os
import re

from trainshed.runner.sandboxes import Choice
from trainshed.wire.v1 import Assignment

FOLDER = "caches"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
_ACCOUNT = re.compile(r"acc_[0-9a-f]{32}\Z")


def prepare(data: str, job: Assignment, choice: Choice) -> str:
    """Make the job's cache folder and return its path; "" where it has none.

    Without namespaces another uid could not reach below the data directory.
    """
    name, account = str(job.cache.get("name", "")), str(job.cache.get("account", ""))
    reachable = choice.kind == "bwrap" or choice.uid is None
    if not (_NAME.match(name) and _ACCOUNT.match(account) and reachable):
        return ""
    path = f"{data}/{FOLDER}/{name}/{account}/{os.getuid() if choice.uid is None else choice.uid}"
    os.makedirs(path, mode=0o700, exist_ok=True)
    if choice.uid is not None:
        os.chown(path, choice.uid, choice.uid, follow_symlinks=False)
    return path


def variable(job: Assignment) -> str:
    """Return the name of the variable that tells the job where it is."""
    return f"TRAINSHED_{str(job.cache['name']).upper()}_CACHE"
