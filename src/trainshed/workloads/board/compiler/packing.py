"""Weights in the order in which the kernels read them, and the table of output channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainshed.workloads.board.compiler.arithmetic import Multiplier

Bytes = np.ndarray[Any, np.dtype[np.int8]]
Words = np.ndarray[Any, np.dtype[np.int64]]


def n_units(n: int, dsp: bool) -> int:
    """Return the units of a run of n elements in a column: pairs of halves, or bytes."""
    return n // 4 * 2 + (n % 4 + 1) // 2 if dsp else n


def pack(weights: Bytes, run: int, dsp: bool) -> Bytes:
    """Return weights of (channel, element) for ``multiply`` in convolution_int8.h.

    ``run``: elements of a column that are widened together.
    """
    n_channels, n = weights.shape
    padded = np.concatenate([weights, np.zeros((n_channels % 2, n), np.int8)])
    if not dsp:
        return _flat(padded)
    order = _order(n, run)
    wide = np.concatenate([padded, np.zeros((len(padded), 1), np.int8)], axis=1)
    pairs = wide[:, order].reshape(len(padded), -1, 2)
    n_full = n_channels // 4 * 4
    blocks = [_interleave(pairs[c : c + 4]) for c in range(0, n_full, 4)]
    blocks += [_interleave(pairs[c : c + 2]) for c in range(n_full, len(padded), 2)]
    return _flat(np.concatenate([b.ravel() for b in blocks]))


def channel_table(
    biases: Sequence[int], multipliers: Sequence[Multiplier], all_right: bool
) -> Words:
    """Return (bias, multiplier, shift) a channel, as ``struct channel`` has it."""
    shifts = [-m.shift - 1 if all_right else m.shift for m in multipliers]
    values = np.array([biases, [m.value for m in multipliers], shifts], np.int64).T
    return (values + 2**31) % 2**32 - 2**31


def shifts_right(weights: Words, biases: Words, multipliers: Sequence[Multiplier]) -> bool:
    """Whether no sum of weights (channel, element) × inputs reaches 2^30 and all shift right."""
    largest = int((np.abs(biases) + 255 * np.abs(weights).sum(axis=1)).max(initial=0))
    return largest < 2**30 and all(m.shift < 0 for m in multipliers)


def _order(n: int, run: int) -> list[int]:
    """Indexes of the halves of a column; n stands for a half that counts nothing."""
    order: list[int] = []
    for start in range(0, n, run):
        end = start + run
        for i in range(start, end - 3, 4):
            order += [i, i + 2, i + 1, i + 3]
        i = start + run // 4 * 4
        order += {0: [], 1: [i, n], 2: [i, i + 1], 3: [i, i + 2, i + 1, n]}[run % 4]
    return order


def _interleave(pairs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(channel, unit, half) -> per unit words of two channels: a.low, b.low, a.high, b.high."""
    n_channels, units, _ = pairs.shape
    return pairs.reshape(n_channels // 2, 2, units, 2).transpose(2, 0, 3, 1)


def _flat(array: np.ndarray[Any, Any]) -> Bytes:
    return np.ascontiguousarray(array, dtype=np.int8).ravel()
