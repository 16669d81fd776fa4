"""Streams and stored bytes: resumed without loss, bounded for the slow, never silently wrong
(G12, G14, G16).
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.support.server import Api, Server, doctor, running

FULL = os.environ.get("TRAINSHED_SOAK") == "1"
LINES = 1_000_000 if FULL else 200_000
GROWTH = 50 * 1024**2


def frames(
    api: Api, path: str, last_id: str | None
) -> Iterator[tuple[str, dict[str, object], str | None]]:
    """Yield (kind, data, id) of a stream of events; closing the iterator cuts the connection."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    with api.http.stream("GET", path, headers=headers, timeout=30) as stream:
        assert stream.status_code == 200, stream.read()
        kind, data, event_id = "", "", None
        for line in stream.iter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                data = value
            elif name == "id":
                event_id = value
            elif not line and kind:
                yield kind, json.loads(data), event_id
                kind, data, event_id = "", "", None


def test_a_follower_cut_again_and_again_gets_every_byte_once(tmp_path: Path) -> None:
    """Cut after each few events, and by kill -9 of the server; text that is not ASCII."""
    n = 600
    code = (
        "import sys, time\n"
        f"for i in range({n}):\n"
        "    print(i, 'öß✓😀', flush=True)\n"
        "    print('err', i, file=sys.stderr, flush=True)\n"
        "    time.sleep(0.006)\n"
    )
    with running(tmp_path / "data") as server:
        api = Api(server)
        job_id = api.python(code)
        got = {"stdout": b"", "stderr": b""}
        last_id, ended, cuts, killed = None, False, 0, False
        until = time.monotonic() + 60
        while not ended:
            assert time.monotonic() < until
            if not killed and len(got["stdout"]) > 4000:
                server.kill()
                server.start()
                api, killed = Api(server), True
            follow = frames(api, f"/v1/jobs/{job_id}/logs/follow", last_id)
            seen = 0
            for kind, data, event_id in follow:
                last_id = event_id or last_id
                ended = ended or kind == "end"
                if kind == "log":
                    stream = str(data["stream"])
                    if stream in got:
                        assert data["offset"] == len(got[stream])
                        got[stream] += str(data["text"]).encode()
                        assert data["next"] == len(got[stream])
                    seen += 1
                    if seen == 3:
                        cuts += 1
                        break
            follow.close()
        print(f"{cuts} cuts")
        assert cuts >= 5
        assert killed
        assert got["stdout"] == "".join(f"{i} öß✓😀\n" for i in range(n)).encode()
        assert got["stderr"] == b"".join(b"err %d\n" % i for i in range(n))
        assert got["stdout"] == api.logs(job_id)


def rss(server: Server) -> int:
    assert server.process is not None
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def silent(server: Server, path: str) -> socket.socket:
    """Ask for a stream and never read of it."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect(("127.0.0.1", server.port))
    head = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Authorization: Bearer {server.credentials['api_key']}\r\n\r\n"
    )
    one.sendall(head.encode())
    return one


@pytest.mark.alone
def test_clients_that_do_not_read_do_not_grow_the_server(tmp_path: Path) -> None:
    """Ten frozen followers of a job that prints 20 MB: at most 50 MB more, and no lost line."""
    code = f"line = 'x' * 90\nfor i in range({LINES}): print(i, line)\n"
    with running(tmp_path / "data", executed=True) as server:
        api = Api(server)
        api.wait(api.python("for i in range(20000): print(i, 'x' * 90)"))
        job_id = api.python("import time\ntime.sleep(1)\n" + code)
        before = rss(server)
        frozen = [silent(server, f"/v1/jobs/{job_id}/logs/follow") for _ in range(10)]
        most = before
        until = time.monotonic() + (300 if FULL else 45)
        while api.job(job_id)["state"] not in ("SUCCEEDED", "FAILED"):
            assert time.monotonic() < until
            most = max(most, rss(server))
            time.sleep(0.05)
        time.sleep(0.5)
        most = max(most, rss(server))
        print(f"RSS {before / 2**20:.0f} MiB, most {most / 2**20:.0f} MiB")
        assert most - before <= GROWTH
        (attempt,) = api.ok(api.http.get(f"/v1/jobs/{job_id}/attempts"))["items"]
        assert attempt["state"] == "SUCCEEDED"
        line = b"x" * 90
        assert api.logs(job_id) == b"".join(b"%d %b\n" % (i, line) for i in range(LINES))
        # One of them reads at last, and gets it all.
        total = 0
        frozen[0].settimeout(20)
        while b"event: end" not in (part := frozen[0].recv(1 << 20)):
            assert part
            total += len(part)
        assert total > LINES * 90
        for one in frozen:
            one.close()


def blob(server: Server, data: bytes) -> Path:
    """Return the file that holds ``data``."""
    md5 = hashlib.md5(data).hexdigest()
    (found,) = (server.data / "blobs").glob(f"*/files/md5/{md5[:2]}/{md5[2:]}")
    return found


def flip(path: Path, at: int) -> None:
    mode = path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    path.chmod(mode)


@pytest.mark.parametrize("size", [64, 3_000_000])
def test_a_flipped_byte_never_passes(api: Api, server: Server, size: int) -> None:
    data = (b"%d bytes " % size * size)[:size]
    code = (
        f"import os\ndata = (b'%d bytes ' % {size} * {size})[:{size}]\n"
        "open(os.environ['TRAINSHED_OUTPUT_DIR'] + '/m.bin', 'wb').write(data)\n"
    )
    job_id = api.python(code)
    assert api.wait(job_id)["state"] == "SUCCEEDED"
    (artifact,) = api.ok(api.http.get(f"/v1/jobs/{job_id}/artifacts"))["items"]

    def url() -> str:
        body = {"job_id": job_id, "path": "m.bin"}
        return str(api.ok(api.http.post("/v1/downloads", json=body))["url"])

    assert api.http.get(url()).content == data
    path = blob(server, data)
    for at in (0, size // 2, size - 1):
        flip(path, at)
        assert path.read_bytes() != data
        for headers in ({}, {"Range": "bytes=0-"}, {"Range": f"bytes={at}-{at}"}):
            try:
                answer = api.http.get(url(), headers=headers)
            except httpx2.HTTPError:
                continue  # the body broke off: nobody takes it for the file
            assert answer.status_code not in (200, 206), (at, headers, answer.headers)
            assert answer.headers["content-type"] == "application/problem+json"
        flip(path, at)
        assert api.http.get(url()).content == data
    flip(path, 1)
    inputs = [{"source": "artifact", "ref": artifact["id"], "path": "in"}]
    after = api.ok(
        api.http.post("/v1/jobs", json={"command": ["find", "in"], "inputs": inputs})
    )["id"]  # fmt: skip
    job = api.wait(after)
    assert job["state"] == "FAILED", api.logs(after)
    flip(path, 1)


def test_points_survive_a_killed_server_once(tmp_path: Path) -> None:
    n = 20_000 if FULL else 3_000
    code = (
        "import time\nimport trainshed_job as job\n"
        f"for i in range({n}):\n"
        "    job.log(step=i, value=i * 0.5)\n"
        "    if i % 10 == 0: time.sleep(0.012)\n"
    )
    with running(tmp_path / "data") as server:
        api = Api(server)
        job_id = api.python(code)
        params = {"key": "value", "max_points": 10_000, "first_step": 0}
        for part in (1, 2):
            until = time.monotonic() + 20
            while points(api, job_id) <= 300 * part:
                assert time.monotonic() < until, "points arrive"
            server.kill()
            time.sleep(0.3)
            server.start()
            api = Api(server)
        job = api.wait(job_id)
        assert (job["state"], job["n_attempts"]) == ("SUCCEEDED", 1)
        assert points(api, job_id) == n
        series = api.ok(api.http.get(f"/v1/jobs/{job_id}/metrics", params=params))
        if not FULL:
            assert [(p[0], p[2]) for p in series["points"]] == [(i, i * 0.5) for i in range(n)]
        seen = [
            data["step"]
            for kind, data, _ in frames(api, f"/v1/jobs/{job_id}/metrics/follow", None)
            if kind == "metric"
        ]
        assert seen == list(range(n))
        assert doctor(server) == []


def points(api: Api, job_id: str) -> int:
    found = api.ok(api.http.get(f"/v1/jobs/{job_id}/metrics"))["items"]
    return sum(int(i["n"]) for i in found if i["key"] == "value")
