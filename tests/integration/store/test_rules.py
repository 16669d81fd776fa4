"""Rules that the database keeps by itself, isolation of writes, and the shape of the schema."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.store.make import ACC, NOW, account, add, at, end, job, lease, submit

from trainshed.domain.errors import Conflict, InvalidInput, NotFound, Unavailable
from trainshed.domain.job import JobSpec
from trainshed.domain.people import Account
from trainshed.domain.resources import GIB, Resources
from trainshed.ports.records import AuditEntry, Remembered
from trainshed.ports.store import Store, Tx
from trainshed.store import migrate
from trainshed.store.engine import open_store


def raw(sql: str, *values: object):  # type: ignore[no-untyped-def]
    return lambda tx: tx.jobs._link.run(sql, values)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE entries SET amount = amount + 1",
        "DELETE FROM entries",
        "UPDATE hold_moves SET delta = 0",
        "DELETE FROM hold_moves",
        "UPDATE audit SET actor = 'someone else'",
        "DELETE FROM audit",
        "UPDATE jobs SET outcome = 'FAILED'",
        "UPDATE jobs SET outcome = NULL",
        "UPDATE attempts SET state = 'RUNNING'",
        "UPDATE attempts SET state = 'FAILED'",
        "UPDATE holds SET state = 'open'",
    ],
)
def test_history_cannot_be_rewritten(store: Store, sql: str) -> None:
    account(store)
    end(store, lease(store, add(store, job(1))[0]))
    store.write(lambda tx: tx.records.audit(AuditEntry(NOW, "me", ACC, "login", "x", {"b": 1})))
    with pytest.raises(Conflict):
        store.write(raw(sql))


def test_one_failing_write_does_not_hurt_the_others(store: Store) -> None:
    account(store)
    gate = threading.Event()
    first = store.submit(lambda tx: gate.wait(5) and None)

    def good(n: int):  # type: ignore[no-untyped-def]
        return lambda tx: submit(tx, job(n)) and None

    def bad(n: int):  # type: ignore[no-untyped-def]
        def fn(tx: Tx) -> None:
            submit(tx, job(n))
            raise ValueError(n)

        return fn

    futures: dict[int, Future[None]] = {
        n: store.submit(bad(n) if n % 3 == 0 else good(n)) for n in range(30)
    }
    gate.set()
    first.result(5)
    for n, future in futures.items():
        assert isinstance(future.exception(10), ValueError) == (n % 3 == 0)
    assert store.read(lambda tx: tx.jobs.counts(None)) == {"QUEUED": 20}


def test_reads_cannot_write_and_a_dead_tx_is_an_error(store: Store) -> None:
    kept: list[Tx] = []
    store.read(kept.append)
    with pytest.raises(RuntimeError, match="over"):
        kept[0].jobs.counts(None)
    with pytest.raises(Exception, match="may not write"):
        store.read(lambda tx: tx.records.set_meta("a", "b"))
    with pytest.raises(RuntimeError, match="another"):
        store.write(lambda tx: store.write(lambda tx2: None))
    assert store.read(lambda tx: tx.records.get_meta("a")) is None


def test_a_read_is_one_snapshot(store: Store) -> None:
    store.write(lambda tx: tx.records.set_meta("n", "1"))

    def twice(tx: Tx) -> tuple[str | None, str | None]:
        before = tx.records.get_meta("n")
        writer = threading.Thread(
            target=store.write, args=(lambda w: w.records.set_meta("n", "2"),)
        )
        writer.start()
        writer.join(10)
        return before, tx.records.get_meta("n")

    assert store.read(twice) == ("1", "1")
    assert store.read(lambda tx: tx.records.get_meta("n")) == "2"


def test_values_that_fit_no_column(store: Store) -> None:
    for name in ("a\ud800b",):
        with pytest.raises(InvalidInput):
            store.write(lambda tx, n=name: tx.people.insert_account(Account("acc_x", n, NOW)))
    with pytest.raises(InvalidInput):
        store.write(
            lambda tx: tx.people.insert_account(Account("acc_x", "n", NOW, quota_bytes=2**63))
        )
    with pytest.raises(Conflict):
        store.write(lambda tx: tx.jobs.insert(job(1, "acc_missing"), None))


def test_schema_is_what_the_tables_say(empty_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import create_engine

    from trainshed.store.tables import metadata

    open_store(empty_url).close()
    engine = create_engine(empty_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        folder = Path(migrate.__file__).parent / "migrations"
        assert ScriptDirectory(str(folder)).get_heads() == [context.get_current_revision()]
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_jobs_of_the_first_version_get_their_lanes(empty_url: str) -> None:
    from alembic import command
    from sqlalchemy import create_engine

    from trainshed.store.mapping import job_row
    from trainshed.store.migrate import _config
    from trainshed.store.tables import jobs

    engine = create_engine(empty_url.replace("postgresql:", "postgresql+psycopg:"))
    gpus = JobSpec(command=("x",), priority=7, resources=Resources(500, GIB, 2, "a100"))
    old = [job(1), job(2, spec=gpus), job(3, spec=replace(gpus, priority=-1000))]
    with engine.begin() as connection:
        command.upgrade(_config(connection), "0001")
        run = connection.exec_driver_sql
        run(
            "INSERT INTO accounts (id, name, created_at, weight, rate_limit)"
            f" VALUES ('{ACC}', 'one', 0, 1, 'standard')"
        )
        for one in old:
            row = dict(zip((c.name for c in jobs.columns), job_row(one), strict=True))
            del row["lane"]
            mark = "?" if empty_url.startswith("sqlite") else "%s"
            names, marks = ", ".join(row), ", ".join([mark] * len(row))
            run(f"INSERT INTO jobs ({names}) VALUES ({marks})", tuple(row.values()))
    engine.dispose()
    store = open_store(empty_url)
    try:
        assert [broken for broken in store.verify() if "lane" in broken] == []
        lanes = store.read(lambda tx: tx.jobs.lanes(ACC, "", 9))
        assert lanes == [f"{p:04}.{rest}" for p, rest in (
            (993, f"2.500.{GIB}.a100"), (1000, f"0.1000.{GIB}."), (2000, f"2.500.{GIB}.a100"),
        )]  # fmt: skip
        store.write(raw("UPDATE jobs SET lane = 'x' WHERE rank = -7"))
        (broken,) = (b for b in store.verify() if "lane" in b)
        assert "stands in lane x" in broken
    finally:
        store.close()


def test_open_again_keeps_everything(url: str) -> None:
    store = open_store(url)
    account(store)
    add(store, job(1))
    store.close()
    store.close()
    with pytest.raises(Unavailable):
        store.write(lambda tx: None)
    again = open_store(url)
    assert again.read(lambda tx: tx.jobs.get(job(1).id)) == job(1)
    looking = open_store(url, read_only=True)
    assert looking.verify() == []
    with pytest.raises(Unavailable):
        looking.write(lambda tx: None)
    looking.close()
    again.close()


def test_a_newer_schema_is_refused(url: str) -> None:
    store = open_store(url)
    store.write(raw("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(Unavailable, match="newer"):
        open_store(url)


def test_idempotency_and_public_ids(store: Store) -> None:
    account(store)
    one = Remembered(ACC, "k", "f", 0, b"", NOW)
    assert store.write(lambda tx: tx.records.remember(one)) is None
    assert store.write(lambda tx: tx.records.remember(one)) == one
    store.write(lambda tx: tx.records.complete(ACC, "k", 201, b"{}"))
    done = store.write(lambda tx: tx.records.remember(one))
    assert done is not None
    assert (done.status, done.body) == (201, b"{}")
    store.write(lambda tx: tx.records.forget(ACC, "k"))
    assert store.write(lambda tx: tx.records.remember(one)) is None
    assert store.write(lambda tx: tx.records.purge_remembered(NOW)) == []
    assert store.write(lambda tx: tx.records.purge_remembered(at(1))) == [one]
    assert store.write(lambda tx: tx.records.remember(one)) is None

    def bind(public: str, object_id: str) -> bool:
        return store.write(
            lambda tx: tx.records.bind_public_id("mimaas", "job", public, object_id, ACC)
        )

    assert bind("1", "job_a")
    assert not bind("1", "job_b")
    assert bind("1", "job_a")
    with pytest.raises(Conflict):
        bind("2", "job_a")
    assert store.read(lambda tx: tx.records.object_id("mimaas", "job", "1")) == "job_a"
    assert store.read(lambda tx: tx.records.public_id("mimaas", "job", "job_b")) is None
    assert bind("3", "job_c")
    store.write(lambda tx: tx.records.unbind_public_ids("mimaas", "job", ["1", "no such"]))
    found = [store.read(lambda tx, i=i: tx.records.object_id("mimaas", "job", i)) for i in "13"]
    assert found == [None, "job_c"]


def test_the_audit_chain(store: Store) -> None:
    for n in range(5):
        store.write(lambda tx, n=n: tx.records.audit(AuditEntry(at(n), "me", ACC, "a", str(n))))
    page = store.read(lambda tx: tx.records.audit_page(ACC, None, 3))
    assert [e.target for e in page] == ["4", "3", "2"]
    older = store.read(lambda tx: tx.records.audit_page(None, page[-1].seq, 3))
    assert [e.target for e in older] == ["1", "0"]
    assert len({e.chain for e in page + older}) == 5


def test_people(store: Store) -> None:
    from dataclasses import replace

    from trainshed.domain.people import Key, Session, User

    account(store)
    user = User("usr_1", ACC, "Straße", "hash", "admin", True, NOW)
    key = Key("key_1", ACC, "usr_1", "k", "p", "look", "h", ("read", "write"), NOW)
    session = Session("ses_1", ACC, "usr_1", "h", NOW, at(10))

    def fill(tx: Tx) -> None:
        tx.people.insert_user(user)
        tx.people.insert_key(key)
        tx.people.insert_session(session)

    store.write(fill)
    with pytest.raises(Conflict):
        store.write(lambda tx: tx.people.insert_user(replace(user, id="usr_2", username="STRASSE")))
    with pytest.raises(Conflict):
        store.write(lambda tx: tx.people.insert_account(Account("acc_2", "one", NOW)))
    assert store.read(lambda tx: tx.people.find_user("strasse")) == user
    assert store.read(lambda tx: tx.people.find_key("look")) == key
    assert store.read(lambda tx: tx.people.get_key("key_1", ACC)) == key
    with pytest.raises(NotFound):
        store.read(lambda tx: tx.people.get_user("usr_1", "acc_2"))
    store.write(lambda tx: tx.people.revoke_sessions("usr_1", at(5)))
    found = store.read(lambda tx: tx.people.find_session("ses_1"))
    assert found == replace(session, revoked_at=at(5))
    store.write(lambda tx: tx.people.save_key(replace(key, revoked_at=at(1))))
    assert store.read(lambda tx: tx.people.keys(ACC))[0].revoked_at == at(1)
    assert store.read(lambda tx: tx.people.n_people()) == 1
    store.write(lambda tx: tx.people.save_user(replace(user, disabled_at=NOW)))
    assert store.read(lambda tx: tx.people.n_people()) == 0
    assert store.read(lambda tx: [a.name for a in tx.people.accounts()]) == ["one"]
    changed = Account(ACC, "uno", NOW, weight=2.5, quota_bytes=7)
    store.write(lambda tx: tx.people.save_account(changed))
    assert store.read(lambda tx: tx.people.find_account("uno")) == changed
    assert store.read(lambda tx: tx.people.users(None)) == store.read(
        lambda tx: tx.people.users(ACC)
    )
