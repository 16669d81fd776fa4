"""Code that documents show, run as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: What the project was asked for, where it lies beside the checkout.
SEED = ROOT.parent / "shared" / "seeds" / "mimaas.md"
_FETCH = "import sys, urllib.request; urllib.request.urlretrieve(sys.argv[1], 'shown.html')"


def python_blocks(document: Path) -> list[str]:
    """Return the Python that a document shows, in its order."""
    return re.findall(r"^```python\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def run_blocks(blocks: list[str], folder: Path, **env: str) -> str:
    """Run blocks as one script in ``folder``, which is also its home; return what it printed.

    What it shows in the browser is saved as ``shown.html``.
    """
    (folder / "fetch.py").write_text(_FETCH)
    (folder / "script.py").write_text("\n".join(blocks))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MIMAAS", "TRAINSHED"))}
    browser = f"{sys.executable} {folder / 'fetch.py'} %s &"
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=240,
        env={**kept, "HOME": str(folder), "BROWSER": browser, **env}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
