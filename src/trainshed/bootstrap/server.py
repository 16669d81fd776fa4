"""``trainshed up``: bind, wire, serve, and stop without stopping the jobs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.applications import Starlette

from trainshed.bootstrap import apps, logs
from trainshed.bootstrap.bus import LoopBus
from trainshed.bootstrap.credentials import first_start
from trainshed.bootstrap.doctor import container_engine
from trainshed.bootstrap.loops import Loops
from trainshed.bootstrap.operator import operator_channels
from trainshed.bootstrap.settings import Settings
from trainshed.bootstrap.wiring import Address, Refused, addresses, build, prepare
from trainshed.ports import crash
from trainshed.usecases.engine import Engine

log = structlog.get_logger("trainshed.server")

BACKLOG = 1024
#: Open streams and long polls are cut after this, so that SIGTERM ends the server within 10 s.
GRACE_S = 4
#: After this the servers have seen that they shall end.
SEEN_S = 0.3
#: Between its making and its listening a socket may be as old as this.
NEW_S = 60.0


def up(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Raises:
        Refused: an address is taken or not allowed, or the data directory is in use.
    """
    crash.arm(os.environ.get("TRAINSHED_CRASHPOINT"), os._exit)
    _allow_files(settings.max_open_requests)
    listen = addresses(settings)
    data = prepare(settings.data)
    settings = settings.model_copy(update={"data": data})
    logs.configure(settings.log_level)
    sockets = bind(listen)
    url = _url(listen[0], sockets[0])
    bound = [Address(*one.getsockname()[:2]) for one in sockets]
    engine = build(settings, bound, settings.public_url or url)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(engine, settings, sockets, url))
    finally:
        engine.deps.store.close()
    return 0


def _allow_files(requests: int) -> None:
    """Raise this process's limit of open files, as far as it may, to a few for each request."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1024 + 4 * requests
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def bind(listen: list[Address]) -> list[socket.socket]:
    """Return listening sockets; only the first address must be free.

    Raises:
        Refused: the first address is taken.
    """
    out: list[socket.socket] = []
    for number, address in enumerate(listen):
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        one = socket.socket(family, socket.SOCK_STREAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((address.host, address.port))
        except OSError as error:
            one.close()
            words = f"{address.host}:{address.port} cannot be used ({error.strerror})"
            if number == 0:
                raise Refused(
                    f"{words}. Stop what listens there, or choose another with --listen."
                ) from error
            print(f"warning: {words}; going on without it.", file=sys.stderr)
            continue
        one.listen(BACKLOG)
        out.append(one)
    return out


class RunnersDoor:
    """The runners' socket of one server, and the one address where all runners knock.

    Servers of one database share a data directory, so each listens under a name of its own, and
    ``server.sock`` leads to the dispatcher's: one that starts or ends beside it cuts nobody off.
    """

    def __init__(self, run: Path, name: str) -> None:
        """Listen at ``run/server-NAME.sock``, 0600. Long paths go through the descriptor."""
        self._run, self._name = run, f"server-{name}.sock"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(run, os.O_DIRECTORY | os.O_RDONLY)
        mask = os.umask(0o177)
        try:
            self.socket.bind(f"/proc/self/fd/{folder}/{self._name}")
        finally:
            os.umask(mask)
            os.close(folder)
        self.socket.listen(BACKLOG)

    def lead_here(self) -> None:
        """Let ``server.sock`` lead to this server, and remove what killed servers left."""
        part = self._run / f"{self._name}.part"
        part.symlink_to(self._name)
        part.replace(self._run / "server.sock")
        for other in self._run.glob("server-*.sock"):
            if other.name != self._name and not _answers(other):
                other.unlink(missing_ok=True)

    def close(self) -> None:
        """Take the name away. Runners wait until another server, or the next, has theirs."""
        self.socket.close()
        (self._run / self._name).unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    """Whether a server listens there; one that is only just being made counts too."""
    folder = os.open(path.parent, os.O_DIRECTORY | os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
            one.settimeout(1.0)
            one.connect(f"/proc/self/fd/{folder}/{path.name}")
    except ConnectionRefusedError:
        return time.time() - path.lstat().st_mtime < NEW_S
    except OSError:
        pass  # busy, or gone
    finally:
        os.close(folder)
    return True


async def _serve(
    engine: Engine, settings: Settings, sockets: list[socket.socket], url: str
) -> None:
    bus = cast(LoopBus, engine.deps.bus)
    bus.bind(asyncio.get_running_loop())
    await asyncio.to_thread(first_start, engine.deps, settings.data, url)
    await asyncio.to_thread(operator_channels, engine.deps, settings)
    door = RunnersDoor(settings.data / "run", engine.deps.ids.token(8))
    loops = Loops(engine, lead=door.lead_here)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        taken = await loops.start()
        engine_there = container_engine(settings) or "none"
        log.info("serving", url=url, jobs_taken_over=taken, containers=engine_there)
        yield
        await loops.stop()

    app = apps.create(engine, settings, lifespan)
    public = _Quiet(_config(app, "on"))
    runners = _Quiet(_config(apps.runners(engine), "off"))
    servers = (public, runners)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, servers, bus)
    tasks = [
        asyncio.create_task(public.serve(sockets=sockets)),
        asyncio.create_task(_after(public, runners, door.socket)),
        asyncio.create_task(_ready(servers, url)),
    ]
    try:
        await asyncio.gather(*tasks)
    finally:
        door.close()


def _config(app: FastAPI | Starlette, lifespan: str) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan=lifespan,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=75,
        h11_max_incomplete_event_size=64 * 1024,
    )


#: What is there at the start stays: only what requests leave behind is worth looking through.
GC_THRESHOLD = (20_000, 20, 50)


class _Quiet(uvicorn.Server):
    """Two servers share one loop: neither may install signal handlers of its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the handlers to ``_serve``."""
        yield


async def _after(first: uvicorn.Server, server: uvicorn.Server, door: socket.socket) -> None:
    """Serve the runners once the engine is up, so that none is answered by half a server."""
    while not first.started and not first.should_exit:
        await asyncio.sleep(0.005)
    await server.serve(sockets=[door])


def _stop(servers: tuple[uvicorn.Server, ...], bus: LoopBus) -> None:
    for server in servers:
        server.should_exit = True
    # By then no connection is used again: who is answered does not ask at once once more.
    asyncio.get_running_loop().call_later(SEEN_S, bus.close)


async def _ready(servers: tuple[uvicorn.Server, ...], url: str) -> None:
    while not all(s.started for s in servers):
        if any(s.should_exit for s in servers):
            return
        await asyncio.sleep(0.005)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    print(f"trainshed ready {url}", flush=True)


def _url(address: Address, bound: socket.socket) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"http://{host}:{bound.getsockname()[1]}"
