"""What every adapter of a port must do: one suite a port, run over all of them by the registry.

A third party runs the same: subclass, give the subject, collect with pytest.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from trainshed.domain.errors import DigestConflict, InvalidInput, NotFound
from trainshed.domain.job import JobSpec
from trainshed.ports.blobs import Blobs
from trainshed.ports.channel import Channel, Message
from trainshed.ports.executor import Cleans, Executor, Launch
from trainshed.ports.workload import Workload

NOBODY = "att_" + "0" * 32
SOMEBODY = "att_" + "1" * 32
WAIT_S = 20.0


def raises(kind: type[Exception], call: Callable[[], object]) -> Exception:
    """Return the expected error of ``call``; AssertionError if it does not come."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def check_executor(executor: Executor, nowhere: str) -> None:
    """Offer, launch, poll, stop; ``nowhere`` is an API URL at which nobody answers."""
    offers = list(executor.offers())
    assert offers
    assert len({o.id for o in offers}) == len(offers)
    for offer in offers:
        assert offer.executor == executor.name
        assert offer.millicpus > 0
        assert offer.memory_bytes > 0
        assert len(set(offer.devices)) == len(offer.devices)
    seen = executor.poll({NOBODY: {}})[NOBODY]
    assert not seen.alive
    assert seen.outcome is None
    assert executor.stop(NOBODY, {})
    order = Launch(SOMEBODY, "tsr_secret_of_the_runner", nowhere)
    handle = executor.launch(order)
    assert json.loads(json.dumps(handle)) == handle
    assert "tsr_secret_of_the_runner" not in json.dumps(handle)
    assert executor.poll({SOMEBODY: handle})[SOMEBODY].alive
    assert executor.stop(SOMEBODY, handle)
    assert executor.stop(SOMEBODY, handle)
    until = time.monotonic() + WAIT_S
    while executor.poll({SOMEBODY: handle})[SOMEBODY].alive:
        assert time.monotonic() < until, "a stopped runner is still alive"
        time.sleep(0.02)
    if isinstance(executor, Cleans):
        executor.clean(SOMEBODY)
        executor.clean(SOMEBODY)
        assert SOMEBODY not in executor.workspaces()


def check_workload(name: str, workload: Workload) -> None:
    """Planning is pure, and what it does not know it refuses by naming it."""
    assert workload.name == name
    spec = JobSpec(workload=name, params={"no-such-parameter": 1}, command=("true",))
    error = raises(InvalidInput, lambda: workload.plan(spec))
    assert isinstance(error, InvalidInput)
    assert error.detail
    assert error.extra.get("field")


def check_blobs(blobs: Blobs) -> None:
    """Nothing before commit, nothing but what was announced, nothing of another account."""
    data = b"some content" * 1000
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    sha256 = hashlib.sha256(data).hexdigest()
    writer = blobs.writer("acc_a")
    writer.write(data[:7])
    writer.write(data[7:])
    assert not blobs.exists("acc_a", md5)
    ref = writer.commit(md5, sha256)
    writer.abort()
    assert (ref.md5, ref.sha256, ref.size_bytes) == (md5, sha256, len(data))
    assert blobs.read("acc_a", md5) == data
    with blobs.open("acc_a", md5) as file:
        assert file.read(12) == data[:12]
    raises(NotFound, lambda: blobs.read("acc_b", md5))
    assert not blobs.exists("acc_b", md5)
    wrong = blobs.writer("acc_a")
    wrong.write(b"other")
    raises(DigestConflict, lambda: wrong.commit(md5, None))
    gone = blobs.writer("acc_a")
    gone.write(b"gone")
    gone.abort()
    gone.abort()
    assert [row[:2] for row in blobs.listing("acc_a")] == [(md5, len(data))]
    first = blobs.put_dir("acc_a", [("b", md5), ("a/c", md5)])
    assert first.endswith(".dir")
    assert blobs.put_dir("acc_a", [("a/c", md5), ("b", md5)]) == first
    blobs.delete("acc_a", md5)
    blobs.delete("acc_a", md5)
    raises(NotFound, lambda: blobs.read("acc_a", md5))
    assert blobs.free_bytes() > 0


def check_channel(
    name: str, channel: Channel, good: Mapping[str, Any], nowhere: Mapping[str, Any]
) -> None:
    """Check refuses by naming the field, nothing secret is shown, failing is an answer.

    ``good`` is a configuration that holds ``secret`` where it may; at ``nowhere`` nobody answers.
    """
    assert channel.name == name
    assert channel.at_once >= 1
    error = raises(InvalidInput, lambda: channel.check({}))
    assert isinstance(error, InvalidInput)
    assert error.extra.get("field")
    kept = channel.check(good)
    assert json.loads(json.dumps(kept)) == kept
    assert channel.check(kept) == kept
    assert "secret" not in channel.shown(kept)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    job = {"id": "job_1", "name": "a\r\nBcc: b@example.org <!channel>", "retry_count": 1}
    body = {
        "type": "job.failed", "timestamp": "2026-01-01T00:00:00Z", "data": {"job": job},
    }  # fmt: skip
    message = Message("dlv_1", "job.failed", body, at)
    secret = {"secret": "whsec_" + "A" * 44} if name == "webhook" else {}
    sent = asyncio.run(channel.send({**channel.check(nowhere), **secret}, message))
    assert not sent.ok
    assert sent.detail
