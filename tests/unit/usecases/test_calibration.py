"""What a calibration set holds is read from its headers, whoever wrote them."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.errors import InvalidInput
from trainshed.usecases.calibration import MAGIC, arrays_of


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def one(content: bytes, name: str = "x.npy") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, content)
    return out.getvalue()


def headed(text: bytes, version: int = 1) -> bytes:
    size = 2 if version == 1 else 4
    return MAGIC + bytes([version, 0]) + len(text).to_bytes(size, "little") + text


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "u1", "<i8", "bool", "<U3", "<c8"])
@pytest.mark.parametrize("shape", [(3, 2), (0, 4), (5,), (), (2, 1, 7, 3)])
def test_as_numpy_wrote_it(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, dtype)
    other = np.asfortranarray(np.ones((4, 3)))
    found = arrays_of(npz(**{"a": array, "übung": other}))
    assert found == {"a": (array.dtype.kind, shape), "übung": ("f", (4, 3))}


def test_a_later_version_of_the_header() -> None:
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (7, 2), }\n"
    for version in (1, 2, 3):
        assert arrays_of(one(headed(text, version))) == {"x": ("f", (7, 2))}


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[]", b"{}", b"'descr'", b"{'descr': '<f4'}", b"{'shape': (1,)}",
        b"{'descr': [('a', '<f4')], 'shape': (1,)}", b"{'descr': '<f4', 'shape': 3}",
        b"{'descr': '<f4', 'shape': (-1,)}", b"{'descr': '<f4', 'shape': (1.5,)}",
        b"{'descr': '<f4', 'shape': ('1',)}", b"{'descr': 'os.system', 'shape': (1,)}",
        b"__import__('os').abort()", b"(" * 900, b"-" * 900 + b"1", b"{'descr': '<f4', 'shape': (" +
        b"1," * 600 + b")}",
    ],
)  # fmt: skip
def test_a_header_that_is_none(text: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"is no \.npz file"):
        arrays_of(one(headed(text)))


def test_a_name_that_is_long() -> None:
    with pytest.raises(InvalidInput, match="longer than 100"):
        arrays_of(npz(**{"x" * 120: np.zeros(1)}))


@given(st.binary(max_size=300))
def test_noise(data: bytes) -> None:
    for content in (one(data), one(headed(data)), one(MAGIC + data), data):
        with pytest.raises(InvalidInput):
            arrays_of(content)
