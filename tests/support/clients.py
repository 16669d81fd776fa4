"""The public Middleman clients from the package index, unmodified, each in a venv of its own."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import httpx2
from tests.support.server import Server, eventually

ROOT = Path(__file__).resolve().parents[2]
PINNED = ROOT / "tests" / "acceptance" / "clients"
KEPT = ROOT / ".venv-clients"
#: The SDK of this repository, in the environment that runs the tests.
OURS = "ours"
PASSWORD = "a long enough passphrase"


def python_of(name: str) -> Path:
    """Return the interpreter of a client's venv, which is made at the first use and then kept."""
    if name == OURS:
        return Path(sys.executable)
    requirements = PINNED / f"{name}.txt"
    folder = KEPT / name
    stamp = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    KEPT.mkdir(exist_ok=True)
    with (KEPT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "installed"
        if not done.exists() or done.read_text() != stamp:
            made = make_venv(folder, "--require-hashes", "-r", str(requirements))
            assert made.returncode == 0, made.stderr
            done.write_text(stamp)
    return folder / "bin" / "python"


def make_venv(folder: Path, *wanted: str) -> subprocess.CompletedProcess[str]:
    """Make a venv and install what is ``wanted`` by our own pip; only what is used is compiled."""
    venv.create(folder, clear=True, with_pip=False)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    return subprocess.run(
        [*command, "--python", str(folder), "install", "--quiet", "--no-compile", *wanted],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


class Tenant:
    """An account of its own with credits, and a key that Middleman's clients take."""

    def __init__(self, server: Server, name: str, credits: int = 1000) -> None:
        boss = server.client()
        made = boss.post("/v1/accounts", json={"name": name})
        assert made.status_code == 201, made.text
        account = made.json()["id"]
        amount = {"amount_ucredits": credits * 1_000_000}
        user = {"username": name, "password": PASSWORD, "role": "admin", "account_id": account}
        for path, body in ((f"/v1/accounts/{account}/grants", amount), ("/v1/users", user)):
            answer = boss.post(path, json=body)
            assert answer.status_code == 201, answer.text
        who = {"username": name, "password": PASSWORD}
        token = boss.post("/v1/login", json=who).json()["token"]
        new = {"name": name, "prefix": "mdlm_", "scopes": ["read", "write", "admin"]}
        with httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"}) as me:
            key = me.post("/v1/keys", json=new)
        assert key.status_code == 201, key.text
        self.name, self.key, self.url = name, str(key.json()["secret"]), f"{server.url}/api/v1"

    def hear(self, job_id: str, word: str, times: int = 1) -> None:
        """Wait until a job's log says something so many times; a client asked again and again
        would be a new process each time.
        """
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx2.Client(headers=headers, timeout=30) as http:
            logs = f"{self.url}/jobs/{job_id}/logs"
            eventually(lambda: http.get(logs).text.count(word) >= times, 60, f"{job_id}: {word}")


class Client:
    """One installed client, run as its user would, in a home of its own."""

    def __init__(self, name: str, home: Path, tenant: Tenant) -> None:
        self.python, self.home, self.tenant = python_of(name), home, tenant
        home.mkdir(parents=True, exist_ok=True)
        script = self.python.parent / "middleman"
        module = [str(self.python), "-m", "middleman.cli"]
        self.command = [str(script)] if script.exists() else module
        self.env = {
            "HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8",
            "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1", "MIDDLEMAN_API_URL": tenant.url,
        }  # fmt: skip

    def cli(self, *args: str, ok: bool = True, env: dict[str, str] | None = None) -> str:
        """Run the command; return what it printed."""
        done = self._run([*self.command, *args], env)
        assert (done.returncode == 0) == ok, (args, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def script(self, path: Path, **given: Any) -> dict[str, Any]:
        """Run a Python script with the client's interpreter; return the JSON of its last line.

        It reads what it is given from standard input: arguments are there for everyone to see.
        """
        given = {"key": self.tenant.key, "url": self.tenant.url, "home": str(self.home), **given}
        done = self._run([str(self.python), str(path)], None, json.dumps(given))
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def run_python(self, path: Path) -> str:
        """Run a Python script with the client's interpreter; return what it printed."""
        done = self._run([str(self.python), str(path)], None)
        assert done.returncode == 0, path.read_text() + done.stdout + done.stderr
        return done.stdout

    def _run(
        self, command: list[str], env: dict[str, str] | None, given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.home, env={**self.env, **(env or {})}, timeout=180,
            capture_output=True, text=True, check=False, input=given,
        )  # fmt: skip
