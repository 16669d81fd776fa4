"""Nothing to plan: the command is the user's, its parameters are none."""

from __future__ import annotations

from trainshed.domain.errors import InvalidInput
from trainshed.domain.job import JobSpec
from trainshed.ports.workload import Plan

MAX_ARGS = 4096
MAX_COMMAND_BYTES = 128 * 1024


class CommandWorkload:
    """Implements ``ports.workload.Workload``."""

    name = "command"

    def plan(self, spec: JobSpec) -> Plan:
        """Return the user's own command.

        Raises:
            InvalidInput: it is empty, too long, holds NUL, or params were given.
        """
        if spec.params:
            raise InvalidInput("The command workload takes no params.", field="params")
        if not spec.command or not spec.command[0]:
            raise InvalidInput(
                "command must name a program, for example ['python', 'train.py'].",
                field="command",
            )
        size = sum(len(part.encode()) + 1 for part in spec.command)
        if len(spec.command) > MAX_ARGS or size > MAX_COMMAND_BYTES:
            raise InvalidInput("command is longer than 4096 words or 128 KiB.", field="command")
        if any("\0" in part for part in spec.command):
            raise InvalidInput("command may not hold NUL.", field="command")
        return Plan(spec)
