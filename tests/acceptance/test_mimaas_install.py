"""The MIMaaS SDK installs as its document says: in a new environment, without our lock.

This asks the package index that pip is set up for. It costs a third of a minute once, because what
it shows (that the folder needs nothing of this repository) shows nowhere else.
"""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

import pytest

SDK = Path(__file__).resolve().parents[2] / "sdk" / "python" / "mimaas"


@pytest.mark.timeout(300)  # the index may be far
def test_plain_and_with_figures(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"

    def run(*command: str, code: int = 0) -> str:
        done = subprocess.run(
            [str(python), *command], cwd=SDK, capture_output=True, text=True, timeout=140,
            check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    pip = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile")
    run(*pip, "-e", ".")
    where = run("-c", "import mimaas; print(mimaas.MIMaaSClient, mimaas.__file__)")
    assert str(SDK) in where
    assert 'pip install "mimaas[viz]"' in run("-c", "import mimaas.viz", code=1)
    run(*pip, "-e", ".[viz]")
    assert "plot_power_analysis" in run(
        "-c", "import mimaas.viz as v; print(v.plot_power_analysis)"
    )
