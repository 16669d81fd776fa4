"""The check of a stranger's model through the real sandbox."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from time import monotonic

import pytest
from tests.unit.board.make_model import small_cnn
from tests.unit.board.test_quantize import dense

from trainshed.bootstrap.inspector import Inspector
from trainshed.domain.errors import Unavailable
from trainshed.ports.boards import Arrays
from trainshed.runner.template import find_host
from trainshed.workloads.board.facts import boards

BOARD = boards()["nrf5340dk"]


def stand_in(tmp_path: Path, script: str) -> str:
    """Return an interpreter that is a shell script: what a child does that goes wrong."""
    path = tmp_path / "home" / "bin" / "python"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_good_and_a_bad_model() -> None:
    inspector = Inspector()
    good = inspector.check(small_cnn(), BOARD, quantize=False)
    assert good.valid
    assert good.estimate is not None
    assert good.estimate.n_operators == 5
    bad = inspector.check(small_cnn()[:900], BOARD, quantize=False)
    assert bad.errors[0].code == "invalid_model"
    assert inspector.check(b"", BOARD, quantize=False).errors[0].code == "invalid_model"
    assert inspector.check(small_cnn(), BOARD, quantize=True).errors[0].code == "already_quantized"


def test_a_calibration_set_that_does_not_fit() -> None:
    inspector = Inspector()

    def said(arrays: Arrays | None) -> list[str]:
        report = inspector.check(dense(), BOARD, True, arrays=arrays)
        return [one.message for one in (*report.errors, *report.warnings)]

    assert "Without a calibration set" in said(None)[0]
    assert said({"values": ("f", (20, 16))}) == []
    assert said({"mine": ("u", (20, 1, 16))}) == []
    assert "[samples, 16]" in said({"values": ("f", (20, 15))})[0]
    assert "must be numbers" in said({"values": ("U", (20, 16))})[0]
    assert "1 to 500 samples" in said({"values": ("f", (501, 16))})[0]
    assert "no array 'values'" in said({"a": ("f", (1, 16)), "b": ("f", (1, 16))})[0]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo ready; kill -SEGV $$", "ended with"),
        ("echo ready; echo '{\"errors\": 3}'", "ended with 0"),
        ("echo ready; echo '[]'; exit 1", "ended with 1"),
        ("echo ready; exec sleep 60", "more than 1 s"),
        ("echo ready; head -c 3000000 /dev/zero", "ended with"),
    ],
)
def test_a_child_that_breaks_off_means_an_invalid_model(
    tmp_path: Path, script: str, said: str
) -> None:
    inspector = Inspector(python=stand_in(tmp_path, script), timeout_s=1)
    began = monotonic()
    report = inspector.check(small_cnn(), BOARD, quantize=False)
    assert monotonic() - began < 20
    assert [finding.code for finding in report.errors] == ["invalid_model"]
    assert said in report.errors[0].message


def test_a_child_that_cannot_begin_is_no_fault_of_the_model(tmp_path: Path) -> None:
    inspector = Inspector(python=stand_in(tmp_path, "echo no numpy >&2; exit 1"))
    with pytest.raises(Unavailable, match="cannot be checked"):
        inspector.check(small_cnn(), BOARD, quantize=False)


def test_the_child_has_no_network_and_writes_nowhere(tmp_path: Path) -> None:
    if not find_host().bwrap_works:
        pytest.skip(f"bwrap does not work here: {find_host().why_not}")
    secret = tmp_path / "home" / "data" / "secret"
    probe = """
    found=$(ls /sys/class/net 2>/dev/null; grep -c : /proc/net/dev)
    echo ready
    for path in / /tmp /usr /etc /home HOME; do
        if (echo x > "$path/written") 2>/dev/null; then wrote="$wrote $path"; fi
    done
    if cat HOME/data/secret 2>/dev/null; then wrote="$wrote secret"; fi
    printf '{"errors": [{"code": "seen", "message": "%s|%s|%s", "operator": 0}],' \
        "$(id -u)" "$wrote" "$found"
    echo '"warnings": [], "estimate": null}'
    """.replace("HOME", str(tmp_path / "home"))
    python = stand_in(tmp_path, probe)
    secret.parent.mkdir()
    secret.write_text("hidden")
    inspector = Inspector(str(secret.parent), python=python)
    (finding,) = inspector.check(b"", BOARD, quantize=False).errors
    uid, wrote, interfaces = finding.message.split("|")
    assert wrote == ""
    assert interfaces == "1"  # loopback only, and it is down
    if os.getuid() == 0:
        assert uid == "65534"


def test_no_more_children_than_allowed_at_once(tmp_path: Path) -> None:
    """Four checks of half a second, one at a time."""
    inspector = Inspector(python=stand_in(tmp_path, "echo ready; exec sleep 0.5"), at_once=1)
    began = monotonic()
    threads = [threading.Thread(target=inspector.check, args=(b"", BOARD, False)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert monotonic() - began >= 2
