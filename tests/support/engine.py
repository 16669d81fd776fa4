"""A whole engine in one process: real store and blobs, fake executor and clock."""

from __future__ import annotations

from pathlib import Path

from trainshed.blobs.local import LocalBlobs
from trainshed.bootstrap.secrets import FileSecrets
from trainshed.domain.ledger import GRANTS, Unit, transfer
from trainshed.domain.people import Account, Principal, Right, User
from trainshed.domain.resources import Pool
from trainshed.ports.deps import Deps, Policy
from trainshed.store.engine import open_store
from trainshed.testing.fakes import CountingIds, FakeExecutor, ManualClock, SilentBus
from trainshed.usecases.engine import Engine
from trainshed.usecases.leases import Leases
from trainshed.workloads.command.plan import CommandWorkload

POOLS = (
    Pool("local-cpu", None, 0, 1_000_000),
    Pool("a100", "a100", 80 * 1024**3, 50_000_000, 1_000_000, 1_000_000),
)


def make_engine(
    folder: Path, url: str | None = None, policy: Policy | None = None
) -> tuple[Engine, ManualClock, FakeExecutor]:
    """Return an engine on SQLite in ``folder`` (or on ``url``), its clock and its executor."""
    clock, executor = ManualClock(), FakeExecutor()
    policy = policy or Policy(min_free_bytes=0)
    deps = Deps(
        store=open_store(url or f"sqlite:///{folder / 'trainshed.db'}"),
        blobs=LocalBlobs(folder / "blobs"),
        clock=clock,
        ids=CountingIds(),
        secrets=FileSecrets(folder / "secrets"),
        bus=SilentBus(),
        executors={"process": executor},
        workloads={"command": CommandWorkload()},
        pools=POOLS,
        policy=policy,
        runner_url="unix:/nowhere",
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
