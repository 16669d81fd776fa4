"""Both clients against a server that speaks the API."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.sdk.stub import KEY, LOG, Stub

from trainshed_client import AsyncClient, Client
from trainshed_client.backoff import Backoff
from trainshed_client.errors import (
    DigestMismatch,
    IllegalTransition,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    TooLarge,
    UnsafePath,
    WaitTimeout,
)
from trainshed_client.folder import scan
from trainshed_client.models import Log

FAST = Backoff(base_s=0.01)


def client(stub: Stub) -> Client:
    return Client(stub.url, KEY, backoff=FAST)


def test_paging_fetches_as_it_goes(stub: Stub) -> None:
    for number in range(1, 451):
        stub.job(number)
    with client(stub) as shed:
        found = shed.jobs.list()
        assert next(found).id.endswith("1")
        assert len(stub.requests) == 1
        assert len(list(found)) == 449
        assert [r.query_params.get("cursor") for r in stub.requests] == [None, "200", "400"]
        assert len(list(shed.jobs.list(limit=250))) == 250
        assert stub.requests[-1].query_params["limit"] == "50"
        assert list(shed.jobs.list(state=["FAILED"])) == []


def test_a_lost_answer_makes_one_job(stub: Stub) -> None:
    stub.drop_creates = 2
    with client(stub) as shed:
        job = shed.jobs.create("python train.py", name="digits")
    assert len(stub.jobs) == 1
    assert len(stub.requests) == 3
    assert job.id in stub.jobs
    assert len({r.headers["idempotency-key"] for r in stub.requests}) == 1


def test_logs_survive_cuts(stub: Stub) -> None:
    job = stub.job()
    stub.cut_streams = 3
    with client(stub) as shed:
        items = list(shed.jobs.follow_logs(job["id"]))
    assert "".join(i.text for i in items if isinstance(i, Log)) == LOG
    assert getattr(items[-1], "final", False)
    ids = [r.headers.get("last-event-id") for r in stub.requests]
    assert ids == [None, "1.8.0.0", "1.16.0.0", "1.24.0.0"]


async def test_async_client_does_the_same(stub: Stub) -> None:
    job = stub.job()
    async with AsyncClient(stub.url, KEY, backoff=FAST) as shed:
        assert (await shed.me()).key_id == "key_" + "1" * 32
        text = [i.text async for i in shed.jobs.follow_logs(job["id"]) if isinstance(i, Log)]
        assert "".join(text) == LOG
        assert (await shed.jobs.wait(job["id"])).state == "SUCCEEDED"
        async with shed.downloads.open(job["id"], "model.pt") as stream:
            assert b"".join([c async for c in stream.chunks()]) == b"weights"


def test_wait_has_an_end(stub: Stub) -> None:
    job = stub.job()
    with client(stub) as shed:
        with pytest.raises(WaitTimeout, match="QUEUED"):
            shed.jobs.wait(job["id"], timeout_s=0.05)
        with pytest.raises(TimeoutError):
            shed.jobs.wait(job["id"], timeout_s=0)


def test_errors_are_typed(stub: Stub) -> None:
    job = stub.job(state="FAILED")
    with client(stub) as shed:
        with pytest.raises(IllegalTransition):
            shed.jobs.cancel(job["id"])
        with pytest.raises(NotFound):
            shed.jobs.get("job_" + "0" * 32)
    with Client(stub.url, "wrong") as shed, pytest.raises(NotAuthenticated):
        shed.me()


def test_upload_folder(stub: Stub, tmp_path: Path) -> None:
    for name in ("a.txt", "sub/b.bin", "empty", *(f"many/{n}" for n in range(20))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name == "empty" else name.encode() * 1000)
    (tmp_path / ".trainshedignore").write_text("many/1*\n")
    seen: dict[str, int] = {}
    with client(stub) as shed:
        folder = scan(tmp_path)
        inputs = shed.uploads.upload_folder(
            folder, prefix="in/", on_progress=lambda p: seen.update({p.path: p.sent_bytes})
        )
    assert [i["path"] for i in inputs] == ["in/" + f.path for f in folder.files]
    assert all(i["source"] == "upload" and i["ref"] in stub.uploads for i in inputs)
    assert stub.files["in/sub/b.bin"] == b"sub/b.bin" * 1000
    assert stub.files["in/empty"] == b""
    assert sum(seen.values()) == folder.size_bytes
    assert all("authorization" not in r.headers for r in stub.requests if "signed" in r.url.path)


def test_an_upload_that_arrived_is_not_sent_twice(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    stub.lose_puts = 1
    with client(stub) as shed:
        upload = shed.uploads.upload_file(tmp_path / "a")
    assert upload.completed_at is not None
    assert [r.method for r in stub.requests] == ["POST", "PUT", "GET"]


def test_one_bad_file_stops_the_folder(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(10**6 + 1))
    (tmp_path / "small").write_bytes(b"x")
    with client(stub) as shed, pytest.raises(TooLarge):
        shed.uploads.upload_folder(tmp_path)
    with client(stub) as shed, pytest.raises(InvalidInput):
        shed.uploads.upload_file(tmp_path / "none")


def test_download_to_a_file_and_a_folder(stub: Stub, tmp_path: Path) -> None:
    job = stub.job()
    with client(stub) as shed:
        for path in ("model.pt", "outputs/model.pt", "/model.pt"):
            saved = shed.jobs.download(job["id"], path, tmp_path / "here.pt")
            assert saved.read_bytes() == b"weights"
        assert shed.jobs.download(job["id"], None, tmp_path) == tmp_path / "all.zip"
        with pytest.raises(NotFound, match=r"model\.pt"):
            shed.jobs.download(job["id"], "none", tmp_path)
        with pytest.raises(InvalidInput):
            shed.jobs.download(job["id"], "model.pt", tmp_path / "no" / "folder")
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["all.zip", "here.pt"]


def test_damaged_download_is_not_kept(stub: Stub, tmp_path: Path) -> None:
    job = stub.job()
    stub.served["model.pt"] = b"wEights"
    (tmp_path / "model.pt").write_text("old")
    with client(stub) as shed, pytest.raises(DigestMismatch):
        shed.jobs.download(job["id"], "model.pt", tmp_path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir() if p.is_file()] == [
        ("model.pt", "old")
    ]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a\\b", "..", "", "a\nb", "C:evil"])
def test_names_that_lead_elsewhere(stub: Stub, tmp_path: Path, name: str) -> None:
    job = stub.job()
    stub.filename = name
    with client(stub) as shed:
        if name:
            with pytest.raises(UnsafePath):
                shed.jobs.download(job["id"], "model.pt", tmp_path)
        else:
            assert shed.jobs.download(job["id"], "model.pt", tmp_path).name == "download"
        assert shed.jobs.download(job["id"], "model.pt", tmp_path / "mine").name == "mine"


def test_everything_else_answers(stub: Stub) -> None:
    job = stub.job(state="SUCCEEDED")["id"]
    with client(stub) as shed:
        assert shed.health().status == "ok"
        assert shed.login("ada", "right").token == "session"
        assert shed.jobs.plan(["x"]).hold_ucredits == 24
        assert shed.jobs.set_priority(job, 5).raw["priority"] == 5
        assert shed.jobs.retry(job).retry_of == job
        assert shed.jobs.attempts(job)[0].number == 1
        assert [e.kind for e in shed.jobs.events(job)] == ["job.queued"]
        assert shed.jobs.logs(job, tail=3).text == LOG
        assert shed.jobs.metrics(job)[0].key == "loss"
        assert [p.flag for p in shed.jobs.series(job, "loss").points] == [None, "nan"]
        assert shed.jobs.receipt(job).captured_ucredits == 405
        assert shed.jobs.checkpoints(job) == ()
        shed.jobs.checkpoint(job)
        shed.jobs.delete(job)
        assert [k.name for k in shed.keys.list()] == ["ci"]
        assert shed.keys.rotate("key_1").secret == KEY
        assert shed.accounts.grant("acc_1", 7).available_ucredits == 7
        assert [u.username for u in shed.users.list()] == ["ada"]
        assert shed.credits.balances()[0].balance_ucredits == 10
        assert shed.offers.list().items[0].pool == "local-cpu"
        assert [e.seq for e in shed.events.list()] == [1]
