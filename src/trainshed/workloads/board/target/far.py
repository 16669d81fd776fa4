"""A bench that is somewhere else: what is to be measured goes out by a socket of the runner's."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from trainshed.domain.board import Board
from trainshed.workloads.board.target.parcel import pack_order, unpack_execution
from trainshed.workloads.board.target.protocol import Execution, Firmware, TargetFailed

#: The runner's side is ``trainshed.runner.bench``, which this must not import.
VARIABLE = "TRAINSHED_BENCH"
MAX_BYTES = 8 * 1024**2
BLOCK = 256 * 1024


class FarBench:
    """Implements ``target.protocol.Target``; once in a Job."""

    def __init__(self, path: str) -> None:
        """``path``: of the socket."""
        self._path = path

    def run(
        self, firmware: Firmware, board: Board, inputs: Sequence[Sequence[bytes]],
        n_inferences: int, folder: Path,
    ) -> Execution:  # fmt: skip
        """Measure ``n_inferences`` on the first input set, and run the others once.

        Raises:
            TargetFailed: the bench says why, or there is none.
        """
        order = pack_order(firmware, board.name, inputs, n_inferences)
        if len(order) > MAX_BYTES:
            raise TargetFailed(f"The image and its inputs have {len(order)} bytes, too much.")
        print("measure: waiting for the board on the bench", flush=True)
        good, answer = self._ask(order)
        if not good:
            raise TargetFailed(answer.decode("utf-8", "replace")[:2000])
        try:
            seen = unpack_execution(answer)
        except ValueError as error:
            raise TargetFailed(f"What the bench sent is broken: {error}") from error
        sizes = [[len(part) for part in one] for one in seen.outputs]
        if seen.n_inferences != n_inferences or sizes != [[*firmware.output_bytes]] * len(inputs):
            raise TargetFailed("What the bench sent does not belong to this firmware.")
        return seen

    def _ask(self, order: bytes) -> tuple[bool, bytes]:
        """Return whether it was measured, and the answer."""
        folder = os.open(os.path.dirname(self._path) or ".", os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                # A path may be longer than the 107 bytes of sun_path.
                link.connect(f"/proc/self/fd/{folder}/{os.path.basename(self._path)}")
                link.sendall(len(order).to_bytes(8, "little") + order)
                head = _exactly(link, 9)
                size = int.from_bytes(head[1:], "little")
                if size > MAX_BYTES:
                    raise TargetFailed("What the bench sent is too much.")
                return head[0] == 1, _exactly(link, size)
        except OSError as error:
            raise TargetFailed(f"The bench cannot be reached: {error}") from error
        finally:
            os.close(folder)


def _exactly(link: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = link.recv(min(size - len(parts), BLOCK))
        if not part:
            raise ConnectionError("the runner went away")
        parts += part
    return bytes(parts)
