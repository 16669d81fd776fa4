"""The README's own way from a fresh server to a trained model, with the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.server import Server, running

TRAINSHED = str(Path(sys.executable).parent / "trainshed")
TRAIN = """
import json, os
import trainshed_job as job
for step in range(1, 4):
    job.log(step=step, loss=1 / step)
    print(f"Epoch {step}/3, Loss: {1 / step:.3f}")
open(os.path.join(os.environ["TRAINSHED_OUTPUT_DIR"], "model.txt"), "w").write("weights")
print(open("data/words.txt").read())
"""


def cli(home: Path, *args: str, given: str = "", cwd: Path | None = None) -> tuple[int, str, str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [TRAINSHED, *args],
        input=given, capture_output=True, text=True, timeout=60, cwd=cwd or home, env=env,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_login_run_list_download(server: Server, tmp_path: Path) -> None:
    who = server.credentials
    code, _, err = cli(
        tmp_path, "login", server.url, "--username", who["username"], "--password-stdin",
        given=who["password"] + "\n",
    )  # fmt: skip
    assert code == 0, err
    work = tmp_path / "work"
    (work / "data").mkdir(parents=True)
    (work / "train.py").write_text(TRAIN)
    (work / "data" / "words.txt").write_text("what the folder held")
    (work / "secret.key").write_text("canary")
    (work / ".trainshedignore").write_text("*.key\n")
    code, out, err = cli(tmp_path, "run", "--", "python", "train.py", cwd=work)
    assert code == 0, (out, err)
    assert "Epoch 3/3" in out
    assert "what the folder held" in out
    code, out, _ = cli(tmp_path, "jobs", "list", "--json")
    newest = json.loads(out)
    job = (newest["items"] if isinstance(newest, dict) else newest)[0]
    assert job["state"] == "SUCCEEDED"
    assert not [i for i in job["inputs"] if i["path"].endswith(".key")]
    target = tmp_path / "model.txt"
    code, _, err = cli(
        tmp_path, "jobs", "download", job["id"][:12], "model.txt", "--to", str(target)
    )
    assert code == 0, err
    assert target.read_text() == "weights"
    code, out, _ = cli(tmp_path, "jobs", "show", job["id"])
    assert code == 0
    assert "SUCCEEDED" in out
    assert "1 CPU, 1.0 GiB, pool local-cpu" in out
    assert "model.txt" in out


def log_in(home: Path, server: Server) -> None:
    who = server.credentials
    name = ("--username", who["username"], "--password-stdin", "--scope", "admin")
    scopes = ("--scope", "read", "--scope", "write")
    given = who["password"] + "\n"
    code, _, err = cli(home, "login", server.url, *name, *scopes, given=given)
    assert (code, err) == (0, "")


def test_a_new_login_ends_the_former_key(server: Server, tmp_path: Path) -> None:
    def keys(home: Path) -> set[str]:
        found = json.loads(cli(home, "keys", "list", "--json")[1])
        return {key["id"] for key in found if key["name"].startswith("trainshed login on")}

    one, other = tmp_path / "one", tmp_path / "other"
    for home in (one, other):
        home.mkdir()
        log_in(home, server)
    before = keys(one)
    log_in(one, server)
    after = keys(one)
    assert len(before) == len(after)
    assert len(before & after) == len(before) - 1, "its own former key alone is gone"
    assert cli(other, "whoami")[0] == 0
    made = json.loads(cli(one, "keys", "create", "mine", "--json")[1])
    args = ("login", server.url, "--api-key", "-")
    assert cli(one, *args, given=made["secret"] + "\n")[0] == 0
    log_in(one, server)
    listed = json.loads(cli(one, "keys", "list", "--json")[1])
    assert made["id"] in [key["id"] for key in listed], "a key that no login made is left"


def test_a_second_person_changes_what_jobs_may(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        log_in(tmp_path, server)
        create = ("users", "create", "--password-stdin")
        code, _, err = cli(tmp_path, *create, "bob", given="a-long-password-of-bob\n")
        assert code == 0, err
        assert "jobs that start from now on get no network" in err
        code, _, err = cli(tmp_path, *create, "eve", given="a-long-password-of-eve\n")
        assert (code, err) == (0, ""), "said once"


def test_wrong_settings_are_usage_errors(tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text("lease_s = -1\n")
    for args, said in (
        (("--listen", "nonsense"), "HOST:PORT"),
        (("--config", str(config)), "lease_s"),
        (("--no-such-option",), "--no-such-option"),
    ):
        code, out, err = cli(tmp_path, "up", "--data", str(tmp_path / "data"), *args)
        assert (code, out) == (2, ""), err
        assert said in err
        assert "Traceback" not in err
    assert not (tmp_path / "data").exists()


def test_exit_codes(server: Server, tmp_path: Path) -> None:
    key = server.credentials["api_key"]
    assert cli(tmp_path, "login", server.url, "--api-key", "-", given=key + "\n")[0] == 0
    assert cli(tmp_path, "jobs", "show", "job_" + "0" * 32)[0] == 4
    assert cli(tmp_path, "run", "--no-upload", "--", "false")[0] == 1
    (tmp_path / "big.txt").write_text("never sent")
    code, _, err = cli(tmp_path, "run", "--gpu", "H900", "--", "true")
    assert code == 2, err
    assert "a100" in err
    assert "uploading" not in err
    code, _, err = cli(tmp_path, "run", "--no-upload", "--gpu", "a100", "--", "true")
    assert code == 0, err
    assert "reserves at most 1,200 credits (a100)" in err
    assert "runs on its CPUs" in err
    assert cli(tmp_path, "jobs", "plan", "--gpu", "A100", "--", "true")[0] == 0


def test_a_schedule_takes_its_folder_along(server: Server, tmp_path: Path) -> None:
    who = server.credentials
    code, _, err = cli(
        tmp_path, "login", server.url, "--username", who["username"], "--password-stdin",
        given=who["password"] + "\n",
    )  # fmt: skip
    assert code == 0, err
    work = tmp_path / "work"
    work.mkdir()
    (work / "train.py").write_text("import os; print('ran with', os.environ['SEED'])")
    create = ["schedules", "create", "nightly", "--cron", "30 2 * * *", "--zone", "Europe/Berlin"]
    code, out, err = cli(
        tmp_path, *create, "-e", "SEED=7", "--max-runtime", "90m", "--", "python", "train.py",
        cwd=work,
    )  # fmt: skip
    assert code == 0, err
    assert " 02:30:00+0" in out, "the next time is shown as its zone's clocks show it"
    (work / "train.py").write_text("raise SystemExit('not what was there then')")
    code, out, err = cli(tmp_path, "schedules", "run", "nightly", "--json")
    assert code == 0, err
    job = json.loads(out)["last_job_id"]
    code, out, err = cli(tmp_path, "jobs", "watch", job)
    assert code == 0, (out, err)
    code, out, err = cli(tmp_path, "jobs", "logs", job)
    assert "ran with 7" in out
    code, out, err = cli(tmp_path, *create, "--overlapp", "skip", "--", "python", "train.py")
    assert code == 2, "an option that is not known is not taken for the command"
    assert "--overlap" in err


def test_run_in_an_environment_of_its_own(server: Server, tmp_path: Path) -> None:
    who = server.credentials
    cli(
        tmp_path, "login", server.url, "--username", who["username"], "--password-stdin",
        given=who["password"] + "\n",
    )  # fmt: skip
    (tmp_path / "wanted.txt").write_text("six==1.16.0\n")
    code, out, err = cli(
        tmp_path, "run", "--no-upload", "--detach", "--requirements", "wanted.txt", "--json",
        "--", "python", "-c", "print(1)",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["environment"]["kind"] == "requirements"
    code, out, err = cli(
        tmp_path, "run", "--no-upload", "--detach", "--image", "localhost/none:1", "--json",
        "--", "python", "-c", "print(1)",
    )  # fmt: skip
    assert code == 0, err
    named = json.loads(out)["environment"]
    assert (named["kind"], named["value"]) == ("image", "localhost/none:1")
    code, _, err = cli(
        tmp_path, "run", "--image", "x", "--requirements", "wanted.txt", "--", "python", "x.py"
    )
    assert code == 2
    assert "--image" in err
