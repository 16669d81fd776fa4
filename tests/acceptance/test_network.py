"""Networks of jobs on a server that several people share."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path

import pytest
from tests.support.server import Api, running

ABSENT = [p for p in ("bwrap", "slirp4netns", "ip") if not shutil.which(p)]

CODE = """
import json, os, socket, urllib.error, urllib.request
def ask(path, **headers):
    url = os.environ["TRAINSHED_API_URL"] + path
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as a:
            return json.load(a).get("id")
    except urllib.error.HTTPError as error: return error.code
def direct():
    try: socket.create_connection(("127.0.0.1", PORT), 3)
    except OSError: return "refused"
token = {"Authorization": "Bearer " + os.environ["TRAINSHED_TOKEN"]}
own = "/v1/jobs/" + os.environ["TRAINSHED_JOB_ID"]
print(json.dumps([ask(own, **token), ask(own), ask("/v1/health"), direct()]))
"""


@pytest.mark.skipif(os.getuid() != 0 or bool(ABSENT), reason=f"needs root and {ABSENT}")
def test_with_two_people_jobs_lead_out_only_and_say_so(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        api = Api(server)
        alone = api.wait(api.submit(["true"]))
        assert alone["attempt"]["network"] == "host"
        person = {"username": f"u{uuid.uuid4().hex[:8]}", "password": uuid.uuid4().hex}
        api.ok(api.http.post("/v1/users", json={**person, "role": "member"}))
        job_id = api.python(CODE.replace("PORT", str(server.port)))
        job = api.wait(job_id)
        assert job["state"] == "SUCCEEDED", api.logs(job_id, "stderr")
        assert job["attempt"]["network"] == "egress"
        assert json.loads(api.logs(job_id)) == [job_id, 401, 404, "refused"]
        assert b"Network: egress" in api.logs(job_id, "system")
        none = api.wait(api.submit(["true"], network="none"))
        assert none["attempt"]["network"] == "none"
