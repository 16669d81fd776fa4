"""A Job in its sandbox asks for a measurement through its runner, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.runner_shed import Shed, shed, wait_for
from tests.unit.runner.fake_server import UID, Attempt

#: What the board workload does, by hand: the folder's descriptor keeps the path short.
ASK = """
import os, socket, sys
path = os.environ["TRAINSHED_BENCH"]
folder = os.open(os.path.dirname(path), os.O_PATH)
link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
link.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
data = bytes(range(256)) * 4000
link.sendall(len(data).to_bytes(8, "little") + data)
got = b""
while part := link.recv(65536): got += part
print(got[0], int.from_bytes(got[1:9], "little"), got[9:].decode())
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Shed]:
    with shed() as one:
        yield one


def launched(place: Shed, command: str, bench: bool = True, **fields: Any) -> Attempt:
    sandbox = {"kind": "auto", "uid": UID, "network": "none", "minimum": "none", "bench": bench}
    return place.launch(["python", "-c", command], sandbox=sandbox, **fields)


def test_what_is_asked_arrives_and_so_does_the_answer(place: Shed) -> None:
    attempt = launched(place, ASK)
    wait_for(lambda: attempt.parcel)
    assert attempt.parcel == bytes(range(256)) * 4000
    assert attempt.finished is None
    attempt.measured = (200, b"3 ms")
    wait_for(lambda: attempt.finished)
    assert attempt.text() == "1 4 3 ms\n", attempt.text("stderr")


def test_why_it_could_not_be_measured(place: Shed) -> None:
    attempt = launched(place, ASK)
    attempt.measured = (424, {"detail": "The pin is loose."})
    wait_for(lambda: attempt.finished)
    assert attempt.text() == "0 17 The pin is loose.\n"


def test_a_cancel_ends_the_wait(place: Shed) -> None:
    attempt = launched(place, ASK, grace_s=0.5)
    wait_for(lambda: attempt.parcel)
    attempt.order = {"kind": "cancel"}
    wait_for(lambda: attempt.finished)
    assert attempt.finished is not None
    assert attempt.finished["stopped_by"] == "cancel"
    wait_for(lambda: place.gone(attempt))


def test_the_server_away_for_a_moment(place: Shed) -> None:
    attempt = launched(place, ASK)
    wait_for(lambda: attempt.parcel)
    place.server.stop()
    place.server.start()
    attempt.measured = (200, b"later")
    wait_for(lambda: attempt.finished)
    assert attempt.text() == "1 5 later\n"


def test_too_much_is_not_taken(place: Shed) -> None:
    huge = ASK.replace("len(data).to_bytes", "(1 << 40).to_bytes")
    attempt = launched(place, huge)
    wait_for(lambda: attempt.finished)
    assert attempt.parcel == b""
    assert "Connection" in attempt.text("stderr") or "Broken pipe" in attempt.text("stderr")


TWICE = (
    ASK
    + """
again = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
try:
    again.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    again.sendall((4).to_bytes(8, "little") + b"more")
    print("again", again.recv(9))
except OSError:
    print("closed")
"""
)


def test_once_is_all(place: Shed) -> None:
    attempt = launched(place, TWICE)
    attempt.measured = (200, b"3 ms")
    wait_for(lambda: attempt.finished)
    assert attempt.text().split("\n")[1] in ("closed", "again b''"), attempt.text()
    assert len(attempt.parcel) == 256 * 4000


def test_other_jobs_have_no_such_door(place: Shed) -> None:
    code = "import os; print(os.environ.get('TRAINSHED_BENCH'))"
    attempt = launched(place, code, bench=False)
    wait_for(lambda: attempt.finished)
    assert attempt.text() == "None\n"
