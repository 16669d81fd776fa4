"""The server's check of a stranger's model: a child in a sandbox, without network, for seconds.

The child is ``trainshed.workloads.board.check``. It says ``ready`` before it looks at the model:
what goes wrong until then is this machine's fault, what goes wrong after is the model's.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import trainshed
from trainshed.bootstrap.seats import Seats
from trainshed.domain.board import Board, Estimate, Finding, Report
from trainshed.domain.errors import Overloaded, Unavailable
from trainshed.ports.boards import Arrays
from trainshed.runner.config import prefixes
from trainshed.runner.sandboxes import Box, Host, bare, bwrap, choose
from trainshed.runner.template import PROBE_UID, find_host

MODULE = "trainshed.workloads.board.check"
TIMEOUT_S = 10.0
WAIT_S = 30.0
AT_ONCE = 2
MAX_ANSWER_BYTES = 2**20
MAX_TEXT = 4000
MAX_FINDINGS = 100
# -B: nothing is written. The numerics start no threads of their own.
_ENV = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}

log = logging.getLogger(__name__)


class Inspector:
    """Implements ``ports.boards.ModelCheck``. Any thread may call it.

    ``data``: the data directory, hidden from the child. ``python``: must have the extra ``boards``.
    """

    def __init__(
        self, data: str = "", python: str = sys.executable, timeout_s: float = TIMEOUT_S,
        at_once: int = AT_ONCE,
    ) -> None:  # fmt: skip
        self._data, self._python, self._timeout_s = data, python, timeout_s
        self._seats = Seats(at_once)

    def check(
        self, model: bytes, board: Board, quantize: bool, who: str = "",
        arrays: Arrays | None = None,
    ) -> Report:  # fmt: skip
        """Return what the child says; a child that dies or hangs means an invalid model.

        Raises:
            Overloaded: too many checks at once.
            Unavailable: the child could not begin.
        """
        header = json.dumps(
            {"board": asdict(board), "quantize": quantize, "arrays": arrays and dict(arrays)}
        )
        with self._seats.one(who, WAIT_S) as seated:
            if not seated:
                raise Overloaded("Too many models are being checked; try again.", retry_after_s=5)
            return self._run(header.encode() + b"\n" + model)

    @cached_property
    def _host(self) -> Host:
        return find_host()

    def _command(self, folder: str) -> list[str]:
        """Return the child in the strongest sandbox that works here; ``folder`` is its /tmp."""
        source = str(Path(trainshed.__file__).parent.parent)
        readable = (*prefixes(self._python), source)
        chosen = choose(self._host, {}, bare.reachable([self._python, source]), PROBE_UID)
        box = Box("/", folder, (), readable, chosen.uid, network=False, hidden=self._data)
        command = [self._python, "-I", "-B", "-m", MODULE, "-"]
        if chosen.kind == "bwrap":
            return bwrap.arguments(self._host, box, command)
        return bare.arguments(self._host, box, command)

    def _run(self, message: bytes) -> Report:
        with ExitStack() as stack:
            source, answer, words = (stack.enter_context(TemporaryFile()) for _ in range(3))
            folder = stack.enter_context(TemporaryDirectory(prefix="trainshed-check-"))
            os.chmod(folder, 0o711)  # noqa: S103 - passed through by the child, written by nobody
            source.write(message)
            source.seek(0)
            why = self._wait(folder, source.fileno(), answer.fileno(), words.fileno())
            words.seek(0)
            said = words.read(MAX_TEXT).decode("utf-8", "replace")
            answer.seek(0)
            ready, _, text = answer.read(MAX_ANSWER_BYTES).partition(b"\n")
        if ready != b"ready":
            log.error("the check of models cannot run: %s %s", why, said.strip()[-500:])
            raise Unavailable("Models cannot be checked on this server now; its log says why.")
        try:
            return report_of(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError):
            return Report(
                (Finding("invalid_model", f"The model cannot be read: {why}."),), (), None
            )

    def _wait(self, folder: str, source: int, answer: int, words: int) -> str:
        """Run the child to its end; return how it ended, in words."""
        with subprocess.Popen(
            self._command(folder), stdin=source, stdout=answer, stderr=words, env=_ENV, cwd="/",
            start_new_session=True,
        ) as child:  # fmt: skip
            try:
                code = child.wait(self._timeout_s)
            except subprocess.TimeoutExpired:
                return f"checking it took more than {self._timeout_s:.0f} s"
            finally:
                if child.returncode is None:
                    os.killpg(child.pid, signal.SIGKILL)
        return f"checking it ended with {code}"


def report_of(answer: Mapping[str, Any]) -> Report:
    """Return the child's answer as values; it is a stranger's as well.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is no report.
    """
    needs = answer["estimate"]
    estimate = None
    if needs is not None:
        sizes = {k: int(v) for k, v in needs.items() if k != "macs"}
        macs = needs["macs"]
        estimate = Estimate(**sizes, macs=None if macs is None else int(macs))
    return Report(_findings(answer["errors"]), _findings(answer["warnings"]), estimate)


def _findings(found: Any) -> tuple[Finding, ...]:
    return tuple(
        Finding(str(one["code"])[:64], str(one["message"])[:MAX_TEXT], int(one["operator"]))
        for one in found[:MAX_FINDINGS]
    )
