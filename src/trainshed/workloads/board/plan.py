"""What runs for a ``board`` Job: the pipeline, with the parameters as one argument.

A Job costs one run whatever it takes, so the workload decides what it may take, and nothing of the
user's is run: the files are data, with names that no interpreter looks for.
"""

from __future__ import annotations

import json

from trainshed.domain.board import RUN_RESOURCES
from trainshed.domain.errors import InvalidInput
from trainshed.domain.job import JobSpec, Network
from trainshed.domain.pricing import BOARDS
from trainshed.ports.workload import Plan
from trainshed.workloads.board.facts import boards
from trainshed.workloads.board.spec import BoardSpec

MAX_RUNTIME_S = 900
GRACE_S = 2.0
CACHE = "board"


class BoardWorkload:
    """Implements ``ports.workload.Workload``."""

    name = "board"

    def plan(self, spec: JobSpec) -> Plan:
        """Return the pipeline's command, and a spec in which the rest is decided.

        Raises:
            InvalidInput: a parameter or an input is wrong, or a command was given.
        """
        try:
            wanted = BoardSpec.from_params(spec.params)
        except (TypeError, ValueError) as error:
            raise InvalidInput(str(error), field="params") from error
        if wanted.board not in boards():
            raise InvalidInput(
                f"There is no board {wanted.board[:64]!r}; there is: {', '.join(boards())}.",
                field="params.board",
            )
        if wanted.bench and boards()[wanted.board].wiring is None:
            raise InvalidInput(
                f"{wanted.board} cannot be measured: how it is wired is not known.",
                field="params.bench",
            )
        text = json.dumps(wanted.to_params(), sort_keys=True)
        # -P: the working directory, where a user's files lie, is no place to import from.
        command = ("python", "-P", "-m", "trainshed.workloads.board.run", text)
        if spec.command not in ((), command):
            raise InvalidInput("The board workload runs its own command.", field="command")
        _check_inputs(spec, wanted)
        decided = JobSpec(
            workload=self.name,
            params=wanted.to_params(),
            command=command,
            inputs=spec.inputs,
            resources=RUN_RESOURCES,
            max_runtime_s=min(spec.max_runtime_s, MAX_RUNTIME_S),
            priority=spec.priority,
            network=Network.NONE,
            labels={**spec.labels, "board": wanted.board},
            grace_s=GRACE_S,
        )
        return Plan(decided, BOARDS.name, closed=True, cache=CACHE)


def _check_inputs(spec: JobSpec, wanted: BoardSpec) -> None:
    """The model and the calibration set, whole files of these names, and nothing else."""
    expected = [wanted.model, *([wanted.calibration] if wanted.calibration else [])]
    given = [one.path for one in spec.inputs]
    if sorted(given) != sorted(expected) or any(one.unpack for one in spec.inputs):
        listed = " and ".join(expected)
        raise InvalidInput(
            f"A board job takes {listed} as inputs, not packed, and nothing else.",
            field="inputs.path",
        )
