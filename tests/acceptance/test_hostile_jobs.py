"""Jobs that misbehave are handled, and their view explains what happened."""

from __future__ import annotations

import math
import os

from tests.support.server import Api, eventually, processes_with

#: The CI size; ``make soak`` runs the sizes the promise names.
FULL = os.environ.get("TRAINSHED_SOAK") == "1"
LINES = 1_000_000 if FULL else 200_000
BIG = 2 * 1024**3 if FULL else 64 * 1024**2


def test_many_lines_arrive_whole_and_in_order(api: Api) -> None:
    code = (
        "import io, sys\n"
        "out = io.TextIOWrapper(sys.stdout.buffer, write_through=False)\n"
        f"for i in range({LINES}): out.write(f'{{i}}\\n')\n"
        "out.flush()\n"
    )
    job_id = api.python(code)
    job = api.wait(job_id, timeout_s=300)
    assert job["state"] == "SUCCEEDED"
    assert api.logs(job_id) == b"".join(b"%d\n" % i for i in range(LINES))


def test_bytes_that_are_no_text(api: Api) -> None:
    code = "import sys, random\nsys.stdout.buffer.write(bytes(range(256)) * 1000)\n"
    job_id = api.python(code)
    assert api.wait(job_id)["state"] == "SUCCEEDED"
    assert api.logs(job_id) == bytes(range(256)) * 1000
    page = api.ok(api.http.get(f"/v1/jobs/{job_id}/logs", params={"limit": 300}))
    assert "�" in page["text"]


def test_nan_and_infinity_stay_visible_in_strict_json(api: Api) -> None:
    code = (
        "import trainshed_job as job\n"
        "for i, v in enumerate([1.0, float('nan'), float('inf'), -float('inf'), 0.5]):\n"
        "    job.log(step=i, loss=v)\n"
    )
    job_id = api.python(code)
    api.wait(job_id)
    answer = api.http.get(f"/v1/jobs/{job_id}/metrics", params={"key": "loss"})
    assert "NaN" not in answer.text
    assert "Infinity" not in answer.text
    points = answer.json()["points"]
    assert [p[2] for p in points] == [1.0, None, None, None, 0.5]
    assert [p[3] if len(p) > 3 else None for p in points] == [None, "nan", "inf", "-inf", None]
    assert math.isfinite(points[-1][2])


def test_a_large_file_becomes_an_artifact(api: Api) -> None:
    code = (
        "import os\n"
        "with open(os.environ['TRAINSHED_OUTPUT_DIR'] + '/big.bin', 'wb') as f:\n"
        f"    for _ in range({BIG} // 1048576): f.write(b'x' * 1048576)\n"
    )
    job_id = api.python(code)
    assert api.wait(job_id, timeout_s=300)["state"] == "SUCCEEDED"
    (found,) = api.ok(api.http.get(f"/v1/jobs/{job_id}/artifacts"))["items"]
    assert found["size_bytes"] == BIG


def test_a_job_that_forks_twice_and_ignores_sigterm_leaves_nothing(api: Api) -> None:
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    job_id = api.submit(["python", "marked-job.py"], {"marked-job.py": code.encode()}, grace_s=1)
    api.wait(job_id, "RUNNING")
    eventually(lambda: b"ready" in api.logs(job_id), 20)
    assert processes_with("marked-job.py")
    api.ok(api.http.post(f"/v1/jobs/{job_id}/cancel"))
    job = api.wait(job_id, timeout_s=20)
    assert job["state"] == "CANCELLED"
    eventually(lambda: not processes_with("marked-job.py"), 5, "the tree is gone")


def test_a_daemon_left_behind_is_ended_with_its_job(api: Api) -> None:
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0: time.sleep(600)\n"
        "    os._exit(0)\n"
    )
    job_id = api.submit(["python", "daemon-job.py"], {"daemon-job.py": code.encode()})
    assert api.wait(job_id)["state"] == "SUCCEEDED"
    eventually(lambda: not processes_with("daemon-job.py"), 5, "the tree is gone")


def test_success_without_output(api: Api) -> None:
    job_id = api.submit(["true"])
    job = api.wait(job_id)
    assert job["state"] == "SUCCEEDED"
    assert api.ok(api.http.get(f"/v1/jobs/{job_id}/artifacts"))["items"] == []
    assert api.logs(job_id) == b""


def test_failure_keeps_artifacts_and_tells_the_exit_code(api: Api) -> None:
    code = (
        "import os, sys\n"
        "open(os.environ['TRAINSHED_OUTPUT_DIR'] + '/partial.txt', 'w').write('kept')\n"
        "print('boom', file=sys.stderr)\nsys.exit(3)\n"
    )
    job_id = api.python(code)
    job = api.wait(job_id)
    assert (job["state"], job["reason"]) == ("FAILED", "exit_code")
    assert "3" in job["message"]
    assert job["attempt"]["exit_code"] == 3
    assert api.logs(job_id, "stderr") == b"boom\n"
    (found,) = api.ok(api.http.get(f"/v1/jobs/{job_id}/artifacts"))["items"]
    assert found["files"][0]["path"] == "partial.txt"


def test_time_limit(api: Api) -> None:
    job_id = api.python("import time\ntime.sleep(600)\n", max_runtime_s=1, grace_s=1)
    job = api.wait(job_id, timeout_s=30)
    assert (job["state"], job["reason"]) == ("FAILED", "time_limit")
    assert "1 s" in job["message"]
    assert job["attempt"]["billable_ms"] <= 4000


def test_memory_limit(api: Api) -> None:
    code = "x = []\nwhile True: x.append(bytearray(8 * 1024 * 1024))\n"
    job_id = api.python(code, resources={"memory_bytes": 128 * 1024**2})
    job = api.wait(job_id, timeout_s=60)
    assert (job["state"], job["reason"]) == ("FAILED", "out_of_memory"), job
    assert "128 MiB" in job["message"]


def test_a_program_that_is_not_there(api: Api) -> None:
    job = api.wait(api.submit(["no-such-program", "--flag"]))
    assert (job["state"], job["reason"]) == ("FAILED", "start_failed")
    assert "no-such-program" in job["message"]
    assert job["captured_ucredits"] == 0


def test_a_fork_bomb_is_bounded(api: Api) -> None:
    code = (
        "import os, time\nn = 0\n"
        "while n < 20000:\n"
        "    try:\n"
        "        if os.fork() == 0:\n            time.sleep(60); os._exit(0)\n"
        "    except OSError:\n        print('refused after', n, flush=True); break\n"
        "    n += 1\n"
    )
    if not FULL:
        code = code.replace("20000", "6000")
    job_id = api.python(code, max_runtime_s=60, resources={"memory_bytes": 8 * 1024**3})
    api.wait(job_id, timeout_s=120)
    assert b"refused after" in api.logs(job_id)
    assert api.http.get("/v1/health").status_code == 200
