"""A database of an older version, as text: ``python -m tests.support.old_database NAME`` writes
``tests/data/NAME.sql`` from the code at hand.

Run it once, when a version with a new schema is released; the file is never written again, and
every later version must migrate it (G22). Only data is in it: revisions are frozen, so the schema
comes from them.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.engine import make_engine

from trainshed.domain.artifact import Artifact, ArtifactKind, FileRef
from trainshed.domain.attempt import Ending, Start
from trainshed.domain.job import JobSpec
from trainshed.domain.people import Principal
from trainshed.domain.retry import RetryPolicy
from trainshed.http.ratelimit import LoginThrottle
from trainshed.ports.records import Remembered
from trainshed.ports.store import JobFilter
from trainshed.ports.streams import Point
from trainshed.store.sqlite import connect
from trainshed.store.tables import metadata
from trainshed.usecases import (
    accounts,
    attempts,
    control,
    dispatch,
    keys,
    login,
    logs,
    metrics,
    uploads,
)
from trainshed.usecases.engine import Engine
from trainshed.usecases.submit import SubmitJob, submit

DATA = Path(__file__).parents[1] / "data"
_BYTES = re.compile(r"X'([0-9A-F]*)'")


def live(folder: Path) -> None:
    """Make a database in which every table of the first schema has rows."""
    engine, clock, _ = make_engine(folder)
    deps = engine.deps
    password = "a long enough passphrase"
    who = accounts.bootstrap_admin(deps, password).principal
    login.login(deps, LoginThrottle(clock), "admin", password, "127.0.0.1")
    keys.create(deps, who, keys.NewKey("robot", ("read", "write"), 30, 5_000_000))
    sent = uploads.create(deps, who, "data/train.csv", 7)
    receiving = uploads.receive(deps, sent.token, 7)
    receiving.writer.write(b"a,b\n1,2")
    uploads.finish(deps, receiving)
    deps.store.write(
        lambda tx: tx.records.remember(
            Remembered(who.account_id, "0" * 64, "1" * 64, 201, b"sealed", clock.utc_now())
        )
    )
    retry = RetryPolicy(1, 5.0)
    spec = JobSpec(command=("python", "train.py"), labels={"team": "vision"}, retry=retry)
    order = SubmitJob(who, "it's trained", spec, {"TOKEN": "secret"}, once="2" * 64)
    submit(deps, order)
    _run(engine, Ending("exited", 0, runtime_ms=5000))
    clock.advance(60)
    _submit(engine, who, "fails")
    _run(engine, Ending("exited", 3, runtime_ms=1000))
    paused = _submit(engine, who, "paused")
    _begin(engine)
    control.pause(deps, who, paused)
    clock.advance(5)
    (held,) = [a for a in deps.store.read(lambda tx: tx.attempts.live()) if a.job_id == paused]
    attempts.finish(engine, held.id, Ending("stopped", 0, stopped_by="pause", runtime_ms=900))
    _submit(engine, who, "runs")
    _begin(engine)
    control.cancel(deps, who, _submit(engine, who, "cancelled"))
    control.retry(deps, who, _named(engine, "fails", who))
    assert deps.store.verify() == []
    deps.store.close()


def _named(engine: Engine, name: str, who: Principal) -> str:
    """Return the id of the job of that name."""
    jobs = engine.deps.store.read(lambda tx: tx.jobs.page(JobFilter(who.account_id), None, 50))
    return next(j.id for j in jobs if j.name == name)


def _submit(engine: Engine, who: Principal, name: str) -> str:
    spec = JobSpec(command=("python", "train.py"))
    return submit(engine.deps, SubmitJob(who, name, spec, {})).job.id


def _begin(engine: Engine) -> list[str]:
    begun = []
    for attempt in dispatch.lease(engine):
        dispatch.launch(engine, attempt)
        engine.deps.store.write(attempts.beginning(engine, attempt.id))
        engine.deps.store.write(attempts.started(engine, attempt.id, Start("strong")))
        begun.append(attempt.id)
    return begun


def _run(engine: Engine, ending: Ending) -> None:
    deps = engine.deps
    (attempt_id,) = _begin(engine)
    account = deps.store.read(lambda tx: tx.attempts.get(attempt_id)).account_id
    deps.store.write(logs.appending(engine, attempt_id, "stdout", 0, b"step 1\nstep 2\n"))
    points = [Point("loss", n, 1_700_000_000_000 + n, 1.0 / (n + 1)) for n in range(4)]
    points.append(Point("loss", 4, 1_700_000_000_004, float("nan")))
    deps.store.write(metrics.appending(engine, attempt_id, 0, points))
    for kind in (ArtifactKind.CHECKPOINT, ArtifactKind.ARTIFACT):
        writer = deps.blobs.writer(account)
        writer.write(kind.encode())
        files = (FileRef("model.bin", writer.commit()),)
        now = deps.clock.utc_now()
        draft = Artifact(deps.ids.new("artifact"), "", "", "", kind, "", files, now, 4)
        attempts.collect(engine, attempt_id, draft, 900)
    if ending.exit_code == 0:
        logs.seal(deps, account, attempt_id, "stdout", 4)
    attempts.finish(engine, attempt_id, ending)


def dump(path: Path) -> str:
    """Return the rows of a SQLite database as INSERTs, in an order that foreign keys allow."""
    lines = ["-- Written once by tests/support/old_database.py; never changed."]
    connection = connect(path, ())
    for table in metadata.sorted_tables:
        names = [c.name for c in table.columns]
        quoted = ", ".join(f"quote({n})" for n in names)
        for row in connection.execute(f"SELECT {quoted} FROM {table.name} ORDER BY 1, 2"):
            values = ", ".join(row)
            lines.append(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({values});")
    connection.close()
    return "\n".join([*lines, ""])


def statements(text: str, engine: str) -> list[str]:
    """Return the INSERTs in an engine's own words."""
    found = [s for s in text.split(";\n") if s.strip() and not s.startswith("-- ")]
    first = text.partition(";\n")[0].partition("\n")[2]
    found = [first, *found] if first else found
    if engine == "sqlite":
        return found
    return [_BYTES.sub(lambda m: f"'\\x{m[1]}'", s) for s in found]


def rows(run: Any, tables: dict[str, list[str]]) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of the named columns, comparable; ``run`` executes SQL and gives rows."""
    out = {}
    for table, names in tables.items():
        found = [tuple(map(_plain, row)) for row in run(f"SELECT {', '.join(names)} FROM {table}")]
        out[table] = sorted(found, key=repr)
    return out


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        live(Path(folder))
        (DATA / f"{sys.argv[1]}.sql").write_text(dump(Path(folder) / "trainshed.db"))
