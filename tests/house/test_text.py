"""No file of the project names the machine it was written on or a package registry."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Put together from pieces, so that this file is not its own finding.
FOLDERS = "|".join(("work", "farm", "root/[.]", "tmp/bash_jobs", "opt/wheels", "opt/pypi"))
HOSTS = "|".join(
    host.replace(" ", "[.]")
    for host in (
        "pypi org",
        "files pythonhosted org",
        "registry npmjs org",
        "registry yarnpkg com",
        "deb debian org",
        "download pytorch org",
    )
)
FORBIDDEN = re.compile(rf"(?<![\w.\-}}$])/(?:{FOLDERS})(?:/|\b(?=\s|$))|\b(?:{HOSTS})".encode())


def project_files() -> list[Path]:
    """What is or would be committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{data.count(bytes([10]), 0, hit.start()) + 1}: {hit[0]!r}"
        for path in project_files()
        if path.is_file()
        for data in [path.read_bytes()]
        for hit in FORBIDDEN.finditer(data)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "/".join(("see ", FOLDERS.split("|")[0], "x")),
        "/".join(("(", FOLDERS.split("|")[1], "a)")),
        "url = https://" + HOSTS.split("|")[0].replace("[.]", "."),
    ],
)
def test_such_a_name_would_be_found(text: str) -> None:
    assert FORBIDDEN.search(text.encode())


@pytest.mark.parametrize("text", ["art{}/x", "sdk/{}/x", "team{}/", "/v1/{}loads"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert not FORBIDDEN.search(text.format(FOLDERS.split("|")[0]).encode())
