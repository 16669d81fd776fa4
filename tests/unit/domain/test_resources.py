"""What fits, what is free, and which figures are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.errors import InvalidInput
from trainshed.domain.resources import (
    GIB,
    MAX_GPUS,
    MAX_MEMORY,
    MAX_MILLICPUS,
    MIN_MEMORY,
    MIN_MILLICPUS,
    Offer,
    Resources,
    Use,
    free_of,
    shortfall,
)

OFFER = Offer("o", "process", "h100", 8000, 16 * GIB, "H100", ("0", "1", "2"))
CPU = replace(OFFER, id="c", gpu_type=None, devices=(), pool="local-cpu")
wants = st.builds(
    Resources,
    millicpus=st.integers(50, 9000),
    memory_bytes=st.integers(1, 20) .map(lambda n: n * GIB),
    gpus=st.integers(0, 4),
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"millicpus": MIN_MILLICPUS - 1}, "resources.cpus"),
        ({"millicpus": MAX_MILLICPUS + 1}, "resources.cpus"),
        ({"memory_bytes": MIN_MEMORY - 1}, "resources.memory_bytes"),
        ({"memory_bytes": MAX_MEMORY + 1}, "resources.memory_bytes"),
        ({"gpus": -1}, "resources.gpus"),
        ({"gpus": MAX_GPUS + 1}, "resources.gpus"),
        ({"gpu_type": "H100"}, "resources.gpu_type"),
    ],
)
def test_bounds_name_the_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        replace(Resources(), **change).check()  # type: ignore[arg-type]
    assert caught.value.extra["field"] == field


def test_the_bounds_themselves_are_allowed() -> None:
    Resources(MIN_MILLICPUS, MIN_MEMORY).check()
    Resources(MAX_MILLICPUS, MAX_MEMORY, MAX_GPUS, "H100").check()
    assert Resources(50).cpus == 0.05


@given(wants, st.sampled_from([None, "H100", "A100"]), st.booleans())
def test_none_means_that_it_really_fits(
    want: Resources, gpu_type: str | None, fallback: bool
) -> None:
    want = replace(want, gpu_type=gpu_type if want.gpus else None)
    for offer in (OFFER, CPU):
        short = shortfall(want, free_of(offer, []), fallback)
        on_cpu = fallback and not offer.devices
        fits = want.millicpus <= 8000 and want.memory_bytes <= 16 * GIB
        if want.gpus and not on_cpu:
            fits = fits and want.gpus <= len(offer.devices)
            fits = fits and want.gpu_type in (None, offer.gpu_type)
        assert (short is None) == fits
        assert short in (None, "cpus", "memory", "gpus", "gpu_type")


@given(st.lists(st.tuples(st.sampled_from("oc"), st.integers(0, 999), st.integers(0, GIB))))
def test_free_is_the_offer_less_its_own_uses(taken: list[tuple[str, int, int]]) -> None:
    uses = [Use(*t) for t in taken]
    free = free_of(OFFER, uses)
    mine = [u for u in uses if u.offer_id == "o"]
    assert free.millicpus == 8000 - sum(u.millicpus for u in mine)
    assert free.memory_bytes == 16 * GIB - sum(u.memory_bytes for u in mine)


def test_devices_are_taken_by_name() -> None:
    free = free_of(OFFER, [Use("o", 0, 0, ("1",)), Use("c", 0, 0, ("0",)), Use("o", 0, 0, ("1",))])
    assert free.devices == ("0", "2")
