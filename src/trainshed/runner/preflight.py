"""Whether a script finds the framework it imports, asked before its paid clock starts.

The script is the user's and so is what may lie beside it: it is read, never run, by the job's own
interpreter in the job's own sandbox, without a network.
"""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from dataclasses import replace

from trainshed.runner import launch
from trainshed.runner.build import BuildFailed
from trainshed.runner.config import Config
from trainshed.runner.limits import create
from trainshed.runner.sandboxes import Box, Choice
from trainshed.runner.system import monotonic
from trainshed.runner.tree import end_children
from trainshed.wire.v1 import Assignment

LIMIT_S = 30.0
MAX_ANSWER = 4096
#: Prints the first module that the script's own body imports, of those asked for, and that is
#: not there. What is imported inside try, if or a function may well be absent.
CHECK = """
import ast, importlib.util, os, sys
script, *names = sys.argv[1:]
with open(script, "rb") as file:
    body = ast.parse(file.read(4 * 1024**2)).body
sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
for node in body:
    found = []
    if isinstance(node, ast.Import): found = [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level: found = [node.module]
    for name in found:
        top = name.split(".")[0]
        if top in names and importlib.util.find_spec(top) is None:
            print("absent", top)
            sys.exit()
"""


def check(
    config: Config, choice: Choice, job: Assignment, box: Box, env: Mapping[str, str]
) -> None:
    """Refuse a Job whose script imports a known framework that its interpreter lacks.

    Whatever cannot be told (no script, no Python, too slow) is left to the script itself.

    Raises:
        BuildFailed: it is absent; the text says what to install.
    """
    framework = job.environment.get("framework") or {}
    modules: Mapping[str, str] = framework.get("modules") or {}
    script = next((part for part in job.command if part.endswith(".py")), None)
    if not modules or script is None:
        return
    # -I: without it an ast.py beside the script would run, and not be paid for.
    command = [job.python, "-I", "-c", CHECK, script, *modules]
    words = _answer(config, choice, job, replace(box, network=False, gpus=False), command, env)
    if len(words) != 2 or words[0] != "absent" or words[1] not in modules:
        return
    package = modules[words[1]]
    what = f"{script!r} imports {words[1]!r}, which the environment of this job does not have."
    if job.environment.get("kind") == "requirements":
        raise BuildFailed(f"{what} Add {package!r} to the requirements.")
    raise BuildFailed(
        f"{what} Give a requirements file that names {package!r}, or ask the operator for an"
        f" interpreter that has it (setting 'environments', {framework.get('name')!r})."
    )


def _answer(
    config: Config, choice: Choice, job: Assignment, box: Box, command: list[str],
    env: Mapping[str, str],
) -> list[str]:  # fmt: skip
    """Return the words that the program printed in its time."""
    group = create(config.groups, job.attempt_id, job.limits, choice.kind == "bwrap")
    read, write = os.pipe2(os.O_CLOEXEC)
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    pidfd, until, data = -1, monotonic() + LIMIT_S, b""
    try:
        spawned = launch.start(
            config.host, choice, box, command, env, (write, null), group, job.limits
        )
        pidfd = spawned.pidfd
        os.close(write)
        write = -1
        poller = select.poll()
        poller.register(read, select.POLLIN)
        while len(data) < MAX_ANSWER and poller.poll(max(until - monotonic(), 0) * 1000):
            part = os.read(read, MAX_ANSWER)
            if not part:
                break
            data += part
    finally:
        for fd in (read, write, null, pidfd):
            if fd >= 0:
                os.close(fd)
        group.kill()
        end_children()
        group.remove()
    return data.decode("utf-8", "replace").split()
