"""A whole engine in one process: real store and blobs, fake executor and clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from tests.support import stores
from tests.support.deps import make_channels

from trainshed.blobs.local import LocalBlobs
from trainshed.bootstrap.secrets import FileSecrets
from trainshed.domain.ledger import GRANTS, Unit, transfer
from trainshed.domain.people import Account, Principal, Right, User
from trainshed.domain.resources import Pool
from trainshed.ports.blobs import Blobs
from trainshed.ports.deps import Deps, Policy
from trainshed.ports.executor import Executor
from trainshed.ports.store import Store, Tx
from trainshed.store.engine import open_store
from trainshed.testing.fakes import CountingIds, FakeExecutor, ManualClock, SilentBus
from trainshed.usecases.engine import Engine
from trainshed.usecases.leases import Leases
from trainshed.workloads.command.plan import CommandWorkload

POOLS = (
    Pool("local-cpu", None, 0, 1_000_000),
    Pool("a100", "a100", 80 * 1024**3, 50_000_000, 1_000_000, 1_000_000),
)


_inside = threading.local()


class Watched:
    """A store that knows, on each thread, whether a transaction is open (law 6)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _marked(self, fn: Callable[[Tx], Any]) -> Callable[[Tx], Any]:
        def run(tx: Tx) -> Any:
            _inside.tx = True
            try:
                return fn(tx)
            finally:
                _inside.tx = False

        return run

    def write(self, fn: Callable[[Tx], Any]) -> Any:
        return self._store.write(self._marked(fn))

    def submit(self, fn: Callable[[Tx], Any]) -> Any:
        return self._store.submit(self._marked(fn))

    def read(self, fn: Callable[[Tx], Any]) -> Any:
        return self._store.read(self._marked(fn))

    def verify(self) -> list[str]:
        return self._store.verify()

    def backup(self, target: str) -> None:
        self._store.backup(target)

    def close(self) -> None:
        self._store.close()


class Outside:
    """Anything slow: every call of it inside a transaction fails the test."""

    def __init__(self, subject: object) -> None:
        self._subject = subject

    def __getattr__(self, name: str) -> Any:
        assert not getattr(_inside, "tx", False), f"{name} was called inside a transaction"
        return getattr(self._subject, name)


def make_engine(
    folder: Path, url: str | None = None, policy: Policy | None = None
) -> tuple[Engine, ManualClock, FakeExecutor]:
    """Return an engine on SQLite in ``folder`` (or on ``url``), its clock and its executor."""
    clock, executor = ManualClock(), FakeExecutor()
    policy = policy or Policy(min_free_bytes=0)
    deps = Deps(
        store=Watched(open_store(url or stores.sqlite(folder / "trainshed.db"))),
        blobs=cast(Blobs, Outside(LocalBlobs(folder / "blobs"))),
        clock=clock,
        ids=CountingIds(),
        secrets=FileSecrets(folder / "secrets"),
        bus=SilentBus(),
        executors={"process": cast(Executor, Outside(executor))},
        workloads={"command": CommandWorkload()},
        pools=POOLS,
        policy=policy,
        runner_url="unix:/nowhere",
        channels=make_channels(),
    )
    return Engine(deps, Leases(policy.lease)), clock, executor


def principal_with_credits(engine: Engine, ucredits: int, name: str = "one") -> Principal:
    """Make an account with a user and credits; return its admin."""
    deps = engine.deps
    account = Account(deps.ids.new("account"), name, deps.clock.utc_now())
    user = User(
        deps.ids.new("user"), account.id, name, "", "admin", False, deps.clock.utc_now()
    )  # fmt: skip
    legs = transfer(
        deps.ids.new("transaction"), GRANTS, account.id, max(ucredits, 1), Unit.CREDIT,
        "grant", deps.clock.utc_now(),
    )  # fmt: skip

    def apply(tx):  # type: ignore[no-untyped-def]
        tx.people.insert_account(account)
        tx.people.insert_user(user)
        if ucredits:
            tx.ledger.post(legs)

    deps.store.write(apply)
    return Principal(account.id, user.id, Right.ADMIN, username=name)
