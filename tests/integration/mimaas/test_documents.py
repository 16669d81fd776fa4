"""The code of the documents runs as it stands."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.integration.mimaas.stub import MODEL, Stub
from tests.integration.mimaas.test_models import PRINTED
from tests.support.documents import ROOT, SEED, python_blocks, run_blocks
from tests.unit.board.test_quantize import SAMPLES, archive, dense


@pytest.mark.parametrize(
    "document",
    [
        ROOT / "docs" / "mimaas-sdk.md",
        ROOT / "sdk" / "python" / "mimaas" / "README.md",
        pytest.param(
            SEED,
            marks=pytest.mark.skipif(
                not SEED.is_file(),
                reason="the document it was made from is not beside the checkout",
            ),
        ),
    ],
    ids=["docs", "readme", "seed"],
)
def test_the_code_runs(stub: Stub, model: Path, tmp_path: Path, document: Path) -> None:
    (tmp_path / "float.tflite").write_bytes(dense())
    (tmp_path / "set.npz").write_bytes(archive(values=SAMPLES))
    printed = run_blocks(python_blocks(document), tmp_path, MIMAAS_API_URL=stub.url)
    assert printed.startswith(PRINTED)
    if document.name != "README.md":
        assert "Runs remaining: 9\nBoard Type: nrf5340dk\n" in printed
        assert (tmp_path / "model.tflite").read_bytes() == MODEL
        assert (tmp_path / "artifacts.zip").stat().st_size > 0
        for _ in range(100):
            if (tmp_path / "shown.html").exists():
                break
            time.sleep(0.1)
        assert "estimated, not measured" in (tmp_path / "shown.html").read_text()
