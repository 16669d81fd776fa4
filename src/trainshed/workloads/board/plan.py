"""What runs for a ``board`` Job: the pipeline, with the parameters as one argument."""

from __future__ import annotations

import json

from trainshed.domain.errors import InvalidInput
from trainshed.domain.job import JobSpec
from trainshed.ports.workload import Plan
from trainshed.workloads.board.spec import BoardSpec


class BoardWorkload:
    """Implements ``ports.workload.Workload``."""

    name = "board"

    def plan(self, spec: JobSpec) -> Plan:
        """Return the pipeline's command.

        Raises:
            InvalidInput: a parameter is wrong, or a command was given.
        """
        try:
            wanted = BoardSpec.from_params(spec.params)
        except (TypeError, ValueError) as error:
            raise InvalidInput(str(error), field="params") from error
        if spec.command:
            raise InvalidInput("The board workload runs its own command.", field="command")
        text = json.dumps(wanted.to_params(), sort_keys=True)
        return Plan(("python", "-m", "trainshed.workloads.board.run", text))
