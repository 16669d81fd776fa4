"""The outputs of a firmware, cut into sets and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from trainshed.workloads.board.target.protocol import TargetFailed


def split(output: bytes, n_sets: int, sizes: Sequence[int]) -> tuple[tuple[bytes, ...], ...]:
    """Return the outputs of each set, in graph order.

    Raises:
        TargetFailed: the length is wrong.
    """
    if len(output) != n_sets * sum(sizes):
        raise TargetFailed(f"The firmware wrote {len(output)} bytes, not {n_sets * sum(sizes)}.")
    ends = list(accumulate(sizes, initial=0))
    return tuple(
        tuple(output[start + a : start + b] for a, b in pairwise(ends))
        for start in range(0, len(output) or 1, sum(sizes) or 1)
    )
