"""A debug probe, by pyOCD: writes flash, and reads memory after the board has run alone.

The board runs while nobody is attached: a debugger draws current and keeps clocks awake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainshed.domain.board import Wiring
from trainshed.workloads.board.target.protocol import TargetFailed

ADVICE = "pip install 'trainshed[probe]'"
#: A chip that is locked is never unlocked by erasing it; reading does not disturb what runs.
_FLASH = {"connect_mode": "under-reset", "auto_unlock": False, "no_config": True}
_READ = {"connect_mode": "attach", "auto_unlock": False, "no_config": True}

#: (unique id, options) -> a session that is not open yet, None without a probe.
Connect = Callable[[str | None, dict[str, Any]], Any]
#: A session -> what takes ``add_data(address, data)`` and ``commit()``.
Loader = Callable[[Any], Any]


class PyOcd:
    """Implements ``target.bench.Probe``. ``unique_id``: of the probe, '' for the only one;
    ``pack``: the CMSIS pack of the part. ``connect`` and ``loader``: pyOCD's own by default.
    """

    def __init__(
        self, unique_id: str = "", pack: Path | None = None, *, project: Path | None = None,
        connect: Connect | None = None, loader: Loader | None = None,
    ) -> None:  # fmt: skip
        """``project``: a folder without scripts of others, which pyOCD would run."""
        self._unique_id = unique_id or None
        self._pack = pack
        self._project = project
        self._connect = connect or _connect
        self._loader = loader or _loader

    def flash(self, wiring: Wiring, parts: Sequence[tuple[int, bytes]]) -> None:
        """Write (address, bytes) to flash and let go of the board."""
        with self._session(wiring, _FLASH) as session:
            loader = self._loader(session)
            for address, data in parts:
                loader.add_data(address, list(data))
            loader.commit()
            session.target.reset()

    def read(self, wiring: Wiring, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes at each (address, size), without stopping the board."""
        with self._session(wiring, _READ) as session:
            return [
                bytes(session.target.read_memory_block8(address, size)) for address, size in places
            ]

    @contextmanager
    def _session(self, wiring: Wiring, given: dict[str, Any]) -> Iterator[Any]:
        options = {**given, "target_override": wiring.target}
        if self._pack is not None:
            options["pack"] = str(self._pack)
        if self._project is not None:
            options["project_dir"] = str(self._project)
        try:
            session = self._connect(self._unique_id, options)
            if session is None:
                which = f"with the id {self._unique_id} " if self._unique_id else ""
                raise TargetFailed(f"No debug probe {which}is plugged in; 'pyocd list' shows them.")
            with session:
                yield session
        except TargetFailed:
            raise
        except Exception as error:  # pyOCD and the USB layers below raise dozens of kinds
            needs = f" This part needs --pack, the file of {wiring.pack}." if wiring.pack else ""
            raise TargetFailed(
                f"The debug probe failed: {type(error).__name__}: {error}. Check its cable and the "
                f"power of the board; unlock a locked part once with 'pyocd erase --mass'.{needs}"
            ) from error


def _connect(unique_id: str | None, options: dict[str, Any]) -> Any:
    try:
        from pyocd.core.helpers import ConnectHelper
    except ImportError as error:
        raise TargetFailed(f"A debug probe needs: {ADVICE}.") from error
    return ConnectHelper.session_with_chosen_probe(
        blocking=False, return_first=unique_id is None, unique_id=unique_id, auto_open=False,
        options=options,
    )  # fmt: skip


def _loader(session: Any) -> Any:
    from pyocd.flash.loader import FlashLoader

    return FlashLoader(session, chip_erase="sector", smart_flash=True)
