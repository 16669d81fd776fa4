"""Boards are files: what ships is whole, a new file is a new board, a fault is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from trainshed.workloads.board import facts
from trainshed.workloads.board.facts import BadFacts, boards, read_folder
from trainshed.workloads.board.facts.cores import CLASSES, CORES
from trainshed.workloads.board.target.machines import MACHINES

SHIPPED = Path(facts.__file__).parent
NAMES = {
    "nrf5340dk", "nrf52840dk", "nucleo_l4r5zi", "nucleo_u575zi", "nucleo_h7a3zi", "disco_f746ng",
    "arduino_nano_33_ble", "frdm_k64f", "ek_ra6m4", "nucleo_g0b1re", "rpi_pico", "rpi_pico2",
}  # fmt: skip
#: How far a stated error may go, by core.
WIDEST = {"cortex-m33": 0.35, "cortex-m4": 0.35, "cortex-m7": 0.5, "cortex-m0plus": 0.5}


def test_the_twelve_boards_are_there() -> None:
    assert set(boards()) >= NAMES


@pytest.mark.parametrize("name", sorted(boards()))
def test_a_board_is_whole(name: str) -> None:
    board = boards()[name]
    assert all(board.sources[key] for key in ("core", "memory", "timing", "power"))
    assert board.machine in MACHINES
    assert set(board.timing.cpi) == set(CLASSES)
    assert 0 < board.max_arena_bytes < board.memory.ram_bytes
    external = any("external" in note for note in board.notes)
    if external:
        assert board.timing.band >= 1
        assert any("error band" in note for note in board.notes)
    else:
        assert board.timing.band <= WIDEST[board.core.name]


def test_the_first_board_states_15_percent() -> None:
    assert boards()["nrf5340dk"].timing.band <= 0.15


def test_a_new_file_is_a_new_board(tmp_path: Path) -> None:
    text = (SHIPPED / "nrf52840dk.toml").read_text(encoding="utf-8")
    (tmp_path / "my_board.toml").write_text(
        text.replace('title = "Nordic nRF52840 DK"', 'title = "Mine"'), encoding="utf-8"
    )
    (board,) = read_folder(tmp_path).values()
    assert (board.name, board.title, board.core.name) == ("my_board", "Mine", "cortex-m4")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('core = "cortex-m4"', 'core = "cortex-m99"', "core must be one of"),
        ("flash_bytes = 1_048_576", "flash_bytes = -1", "memory.flash_bytes"),
        ("ram_bytes = 262_144", "ram_bytes = 4096", "memory.reserved_ram_bytes"),
        ("clock_hz = 64_000_000", "", "clock_hz is missing"),
        ("wait_states = 2", 'wait_states = "two"', "timing.wait_states"),
        ("wait_states = 2", "wait_states = 2\nwait = 2", "timing.wait is not a fact"),
        ('basis = "datasheet"', 'basis = "guess"', "power.basis"),
        ("[sources]", "[sources]\nrumour = 'x'", "sources.rumour"),
        ("[power]", "[timing.calibration]\nfactor = 2.0\n[power]", "calibration.factor needs"),
        ("[power]", '[timing.calibration]\nengine = "x"\n[power]', "calibration.engine needs"),
        ("[power]", "[power", "nrf52840dk.toml"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    text = (SHIPPED / "nrf52840dk.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "nrf52840dk.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadFacts, match=named.replace(".", r"\.")) as found:
        read_folder(tmp_path)
    assert str(found.value).startswith("nrf52840dk.toml: ")


def test_a_name_is_one_word(tmp_path: Path) -> None:
    shutil.copy(SHIPPED / "nrf52840dk.toml", tmp_path / "Two Words.toml")
    with pytest.raises(BadFacts, match="small letters"):
        read_folder(tmp_path)


def test_a_fitted_factor_keeps_its_rows() -> None:
    fitted = [board for board in boards().values() if board.timing.engine]
    assert len(fitted) == 7
    for board in fitted:
        text = (SHIPPED / f"{board.name}.toml").read_text(encoding="utf-8")
        assert text.count("mlcommons/tiny_results") >= 1
        assert board.timing.calibrated_on
    for board in boards().values():
        if not board.timing.engine:
            assert board.timing.factor == CORES[board.core.name].factor
