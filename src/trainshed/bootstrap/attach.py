"""``trainshed boards attach``: let a server hand requests to a real board beside this machine."""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainshed import __version__
from trainshed.bootstrap.bench import hardware
from trainshed.domain.bench import MAX_FAILURE

if TYPE_CHECKING:
    from trainshed.workloads.board.target.protocol import Target
    from trainshed_client import Client
    from trainshed_client.models_boards import Bench

#: How often a bench says that it is there while it measures.
RENEW_S = 8.0
#: After this the board hangs, and the server hears no more of it.
MOST_S = 600.0
#: A server that was restarted waits a minute for its benches.
FIRST_WAIT_S, MOST_WAIT_S = 1.0, 10.0
Say = Callable[[str], None]


@click.command("attach")
@click.option("--board", "-b", required=True, help="Its name, such as nrf52840dk.")
@click.option("--name", default="", help="What the server calls this bench; default: this host.")
@hardware
def attach(board: str, name: str, **given: Any) -> None:
    """Measure on the board beside this machine what the server's users ask for, until interrupted.

    Needs an operator's key; one with the scope "write" will do.
    """
    from trainshed.bootstrap.bench import bench_of
    from trainshed_client.cli.context import open_client

    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, open_client() as client:
        agent = Agent(
            client, bench_of(Path(folder), **given), board, name or socket.gethostname(),
            Path(folder), lambda text: click.echo(text, err=True),
        )  # fmt: skip
        with suppress(KeyboardInterrupt):
            agent.serve()
    click.echo("detached", err=True)
    sys.exit(0)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@dataclass
class Agent:
    """Asks for work, measures, answers. ``folder``: scratch; ``say``: for the person beside it;
    ``ask_s``: how long one question for work stays open.
    """

    client: Client
    target: Target
    board: str
    name: str
    folder: Path
    say: Say
    ask_s: int = 20

    def serve(self, ended: Callable[[], bool] = lambda: False) -> None:
        """Serve until ``ended``. A server that is away is waited for.

        Raises:
            TrainshedError: the server will not have this bench.
        """
        while not ended():
            with self._attached() as bench:
                self._until_forgotten(bench, ended)

    @contextmanager
    def _attached(self) -> Iterator[Bench]:
        from trainshed_client.errors import TrainshedError

        bench = self._persist(
            lambda: self.client.benches.attach(self.board, self.name, __version__)
        )
        self.say(f"{self.board} is attached to {self.client.url} as {self.name!r}")
        try:
            yield bench
        finally:
            with suppress(TrainshedError):
                self.client.benches.detach(bench.id)

    def _until_forgotten(self, bench: Bench, ended: Callable[[], bool]) -> None:
        from trainshed_client.errors import NotFound

        while not ended():
            try:
                found = self._persist(lambda: self.client.benches.next(bench.id, wait_s=self.ask_s))
            except NotFound:
                self.say("the server has forgotten this bench; attaching again")
                return
            if found.id is not None:
                with suppress(NotFound):  # its job has ended meanwhile
                    self._measure(bench, found.id)

    def _measure(self, bench: Bench, id_: str) -> None:
        """Raises NotFound: nobody wants it any more."""
        began = time.monotonic()
        with self._kept(bench):
            data = self._persist(lambda: self.client.benches.parcel(bench.id, id_))
            self.say(f"{id_}: measuring")
            answer, problem = self._run(data)
            if answer:
                self._persist(lambda: self.client.benches.answer(bench.id, id_, answer))
            else:
                self._persist(lambda: self.client.benches.failed(bench.id, id_, problem))
        seconds = time.monotonic() - began
        self.say(f"{id_}: {problem or 'measured'} ({seconds:.1f} s)")

    @contextmanager
    def _kept(self, bench: Bench) -> Iterator[None]:
        """Meanwhile keep the server from giving the work to others, however slow the line is; but
        not for ever, or all requests would wait for a board that hangs.
        """
        from trainshed_client.errors import TrainshedError

        over, until = threading.Event(), time.monotonic() + MOST_S

        def renew() -> None:
            while not over.wait(RENEW_S) and time.monotonic() < until:
                with suppress(TrainshedError, RuntimeError):  # the latter: the client was closed
                    self.client.benches.renew(bench.id)

        threading.Thread(target=renew, name="renew", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _run(self, data: bytes) -> tuple[bytes, str]:
        """Return the answer's parcel, or why there is none."""
        from trainshed.workloads.board.facts import boards
        from trainshed.workloads.board.target.parcel import pack_execution, unpack_order
        from trainshed.workloads.board.target.protocol import TargetFailed

        try:
            board, firmware, inputs, n_inferences = unpack_order(data, self.folder)
            if board != self.board:
                return b"", _words(f"This bench has no {board}.")
            seen = self.target.run(firmware, boards()[board], inputs, n_inferences, self.folder)
            return pack_execution(seen), ""
        except TargetFailed as error:
            return b"", _words(str(error))
        except Exception as error:  # a broken parcel, a library's own: the next may be well
            return b"", _words(f"It could not be measured: {type(error).__name__}: {error}")

    def _persist(self, call: Callable[[], Any]) -> Any:
        """Return what ``call`` does, once the server is there.

        Raises:
            TrainshedError: the server says no.
        """
        from trainshed_client.errors import TrainshedError, Unreachable

        wait = FIRST_WAIT_S
        while True:
            try:
                return call()
            except Unreachable as error:
                self.say(f"{error.detail} Trying again.")
            except TrainshedError as error:
                if (error.status or 0) < 500 and error.status != 429:
                    raise
                self.say(f"{error.detail} Trying again.")
            time.sleep(wait)
            wait = min(wait * 2, MOST_WAIT_S)


def _words(problem: str) -> str:
    """Return it as the server takes it: one line, not too long, not nothing."""
    line = "".join(c if c.isprintable() else " " for c in problem)[:MAX_FAILURE].strip()
    return line or "The bench did not say why."
