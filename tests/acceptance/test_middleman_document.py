"""Every command and code block of the document that the first client ships, run as it stands."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.clients import Client, Tenant
from tests.support.index import serving
from tests.support.server import Server, running

NAME = "middleman-ml-0.1.0"
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SLOW = "import time\nprint('Epoch 1/2, Loss: 0.5', flush=True)\ntime.sleep({seconds})\n"
SAVE = """
import os, pathlib
try:
    import ware
    print(ware.WORD)
except ImportError:
    pass
pathlib.Path(os.environ["OUTPUT_DIR"], "model.pt").write_bytes(b"weights")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that builds environments from an index of the test's own."""
    base = tmp_path_factory.mktemp("document")
    (base / "index").mkdir()
    with serving(base / "index") as index:
        index.wheel("ware", "WORD = 'from the index'")
        with running(base / "data", PIP_INDEX_URL=index.url, PIP_FIND_LINKS="") as one:
            yield one


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Client:
    """The client, in an account that has sent what the document names."""
    made = Client(NAME, tmp_path / "home", Tenant(server, f"doc-{tmp_path.name[-24:]}", 100_000))
    made.env["MIDDLEMAN_API_KEY"] = made.tenant.key
    files = {
        "train.py": SLOW.format(seconds=0.2) + SAVE,
        "data.zip": "",
        "requirements.txt": "ware\n",
    }
    sets = {"data/dataset/a.csv": "1,2\n", "data/imagenet/a.csv": "1,2\n"}
    for name, text in files.items():
        (made.home / name).write_text(text)
    http = server.client(made.tenant.key)
    for path, text in {**sets, "scripts/train.py": files["train.py"]}.items():
        slot = http.post("/v1/uploads", json={"path": path, "size_bytes": len(text)}).json()
        assert http.put(slot["url"], content=text.encode()).status_code == 201
    return made


def blocks(client: Client, language: str) -> list[str]:
    """Return the fenced blocks of the document, which is the distribution's description."""
    code = (
        "import importlib.metadata, json\n"
        "about = importlib.metadata.metadata('middleman-ml')\n"
        "print(json.dumps(about['Description'] or about.get_payload()))\n"
    )
    script = client.home / "document.py"
    script.write_text(code)
    text = json.loads(client.run_python(script))
    return [body for found, body in FENCED.findall(text) if found == language]


def long_job(client: Client) -> str:
    """Start a job that runs until it is told otherwise; return its id."""
    text = SLOW.format(seconds=600)
    (client.home / "long.py").write_text(text)
    client.cli("data", "upload", "long.py")
    made = client.cli("jobs", "create", "long.py", "/data/dataset")
    found = re.search(r"ID: ([0-9a-f-]{36})", made)
    assert found is not None
    client.tenant.hear(found[1], "Epoch 1/2")
    return found[1]


def test_every_shell_block(client: Client) -> None:
    lines = [
        re.sub(r"\s+#.*", "", line).strip()
        for block in blocks(client, "bash")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    commands = [line for line in lines if line.startswith("middleman ")]
    assert len(commands) >= 20
    job = long_job(client)
    values = {
        "[API_KEY]": client.tenant.key, "<job-id>": job, "<id>": job, "<file>": "data.zip",
        "<name>": "ci",
    }  # fmt: skip
    for line in commands:
        if line == "middleman jobs create":  # the list of commands; its arguments are above
            line = "middleman jobs create /scripts/train.py /data/dataset"
        if line in ("middleman auth",):  # asks for the key at a prompt
            line = f"middleman auth {client.tenant.key}"
        if "watch" in line or "download-url" in line:
            values["<job-id>"] = values["<id>"] = finished(client)
        elif "keys revoke" in line:
            prefix = re.search(r"ci\W+(mdlm_[0-9a-f]{8}\.\.\.)", client.cli("keys", "list"))
            assert prefix is not None
            values["<id>"] = prefix[1]
        elif "jobs" in line:
            values["<id>"] = values["<job-id>"] = job
        words = line.split()[1:] if "--name" not in line else NAMED
        words = [values.get(word, word) for word in words]
        words += ["-y"] if words[:2] in (["jobs", "cancel"], ["keys", "revoke"]) else []
        if words[:2] == ["jobs", "cancel"]:  # in the document's order nothing is left to pause
            continue
        client.cli(*words)
    assert "Refunded" in client.cli("jobs", "cancel", job, "-y")


NAMED = [
    "jobs", "create", "/scripts/train.py", "/data/dataset", "--name", "My Training Run",
    "--gpu", "a100", "--gpu-count", "2", "--framework", "pytorch", "--max-hours", "8",
]  # fmt: skip


def test_every_python_block(client: Client) -> None:
    found = blocks(client, "python")
    assert len(found) >= 6
    job = long_job(client)
    upload = str(client.home / "data.zip")
    client.cli("data", "upload", str(client.home / "requirements.txt"))
    values = {
        '"https://..."': repr(client.tenant.url), '"mdlm_..."': repr(client.tenant.key),
        '"/local/path/data.zip"': repr(upload), "timeout=3600": "timeout=90, poll_interval=0.2",
        'wait_for_job(job.id)': "wait_for_job(job.id, poll_interval=0.2)",
        'stream_job_status("job-uuid")': 'stream_job_status("job-uuid", poll_interval=0.2)',
    }  # fmt: skip
    for number, block in enumerate(found):
        text = block
        for old, new in values.items():
            text = text.replace(old, new)
        if "outputs/model.pt" in text:
            text = text.replace('"job-uuid"', repr(finished(client)))
        text = text.replace(
            'client.revoke_api_key("key-uuid")', "client.revoke_api_key(key_info.id)"
        )
        if "pause_job" in text:  # the document cancels before it pauses: a job for each
            text = text.replace('cancel_job("job-uuid")', f"cancel_job({long_job(client)!r})")
            text = text.replace('wait_for_job("job-uuid"', "wait_for_job(response.id")
            text = text.replace('stream_job_status("job-uuid"', "stream_job_status(response.id")
        text = text.replace('"job-uuid"', repr(job))
        head = "from middleman import MiddlemanClient\nclient = MiddlemanClient()\n"
        script = client.home / f"block_{number}.py"
        script.write_text(head + textwrap.dedent(text))
        client.run_python(script)
        if "requirements_file" in text:
            done = ids(client.cli("jobs", "list", "-s", "completed"))
            assert any("from the index" in client.cli("jobs", "logs", one) for one in done)
    client.cli("jobs", "cancel", job, "-y")


def ids(listed: str) -> list[str]:
    return re.findall(r"│ ([0-9a-f]{8}) ", listed)


def finished(client: Client) -> str:
    """Return the id of a job that left outputs/model.pt."""
    made = client.cli("jobs", "create", "/scripts/train.py", "/data/dataset")
    found = re.search(r"ID: ([0-9a-f-]{36})", made)
    assert found is not None
    client.cli("jobs", "watch", found[1], "-i", "1")
    return found[1]
