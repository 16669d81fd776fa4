"""Why a Job waits, and the smallest change that would start it: taken literally, it does."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.placement import Candidate, place
from trainshed.domain.resources import GIB, Offer, Pool, Resources, Use
from trainshed.domain.waiting import WAIT_CODES, explain

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CPU = Offer("cpu", "process", "local-cpu", 8000, 32 * GIB)
GPU = Offer("gpu", "process", "h100", 16_000, 64 * GIB, "H100", ("0", "1", "2", "3"))
POOLS = {"local-cpu": Pool("local-cpu", None, 0, 1), "h100": Pool("h100", "H100", 0, 1)}


def job(want: Resources) -> Candidate:
    return Candidate("j", "a", want, "h100" if want.gpus else "local-cpu", 0, NOW, 60)


def test_the_codes_everybody_knows() -> None:
    known = {"ready", "starting", "backoff", "no_capacity", "behind_others", "reserved", "paused"}
    assert set(WAIT_CODES) == known | {"no_executor", "no_machine", "drained", "bench"}


def test_in_order_of_what_hinders() -> None:
    one = job(Resources(2000))
    assert explain(one, [], [], 0, False).code == "no_executor"
    assert explain(one, [CPU], [], 0, False).code == "ready"
    ahead = explain(one, [CPU], [], 3, False)
    assert (ahead.code, ahead.detail) == ("behind_others", "3 jobs come first.")
    assert explain(one, [CPU], [], 1, False).detail == "1 job comes first."
    assert explain(one, [CPU], [], 3, False, reserved=True).code == "reserved"
    taken = explain(replace(one, bench="nrf52840dk"), [CPU], [], 3, False, bench_taken=True)
    assert (taken.code, "nrf52840dk" in taken.detail) == ("bench", True)


def test_capacity_says_what_is_short_how_much_is_free_and_what_would_do() -> None:
    short = explain(job(Resources(4000)), [CPU], [Use("cpu", 5500, GIB)], 2, False)
    assert short.code == "no_capacity"
    assert short.detail == "CPUs: 4 wanted, 2.5 free now. 2 jobs come first."
    assert short.fix == "Lower CPUs to 2.5, or wait for running jobs to end."
    full = explain(job(Resources(4000)), [CPU], [Use("cpu", 8000, GIB)], 0, False)
    assert full.fix == "Wait for running jobs to end."
    gpus = Resources(1000, GIB, 4, "H100")
    some = explain(job(gpus), [CPU, GPU], [Use("gpu", 0, 0, ("0", "1", "2"))], 0, False)
    assert some.detail == "GPUs: 4 wanted, 1 free now."
    assert some.fix == "Lower GPUs to 1, or wait for running jobs to end."
    never = explain(job(replace(gpus, gpu_type="T4")), [CPU, GPU], [], 0, True)
    assert never.code == "no_machine"
    assert never.detail == "No machine with T4 is connected."
    assert never.fix == "Connect a machine with 4 × T4, or ask for GPU type H100."
    some = explain(job(replace(gpus, gpus=2)), [CPU], [], 0, False)
    assert some.fix == "Connect a machine with 2 × H100, or ask for no GPU."
    more = explain(job(replace(gpus, gpus=9)), [CPU, GPU], [], 0, False)
    assert (more.code, more.detail) == ("no_capacity", "GPUs: 9 wanted, 4 even when idle.")


def test_fallback_waits_for_cpus_not_for_gpus() -> None:
    want = job(Resources(4000, GIB, 2, "H100"))
    assert explain(want, [CPU], [], 0, True).code == "ready"
    busy = explain(want, [CPU], [Use("cpu", 7000, GIB)], 0, True)
    assert busy.detail == "CPUs: 4 wanted, 1 free now."
    assert explain(want, [CPU], [], 0, False).code == "no_machine"


def test_a_drained_offer_is_named_only_where_nothing_else_fits() -> None:
    one, twin = job(Resources(2000)), replace(CPU, id="twin")
    waits = explain(one, [CPU], [], 0, False, drained={"cpu"})
    assert (waits.code, waits.detail) == ("drained", "The operator is draining what fits: cpu.")
    assert explain(one, [CPU, twin], [], 0, False, drained={"cpu"}).code == "ready"
    full = explain(one, [CPU, twin], [Use("twin", 8000, GIB)], 0, False, drained={"cpu"})
    assert full.code == "no_capacity"
    gpu = job(Resources(1000, GIB, 1, "H100"))
    assert explain(gpu, [CPU, GPU], [], 0, True, drained={"gpu"}).code == "drained"


wants = st.builds(
    Resources,
    millicpus=st.integers(50, 20_000),
    memory_bytes=st.integers(16 * 2**20, 80 * GIB),
    gpus=st.integers(0, 5),
)
uses = st.lists(
    st.builds(
        Use,
        offer_id=st.sampled_from(["cpu", "gpu"]),
        millicpus=st.integers(0, 9000),
        memory_bytes=st.integers(0, 40 * GIB),
        devices=st.sampled_from([(), ("0",), ("1", "2")]),
    ),
    max_size=4,
)


def _follow(want: Resources, fix: str) -> Resources:
    for what, text, unit in re.findall(r"(CPUs|memory|GPUs) to ([\d.]+)(?: (GiB|MiB))?", fix):
        figure = float(text)
        if what == "CPUs":
            want = replace(want, millicpus=round(figure * 1000))
        elif what == "GPUs":
            want = replace(want, gpus=int(figure))
        else:
            want = replace(want, memory_bytes=int(figure * (GIB if unit == "GiB" else 2**20)))
    return want


@given(wants, st.sampled_from([[CPU], [GPU], [CPU, GPU]]), uses, st.booleans())
def test_it_agrees_with_place_and_its_advice_works(
    want: Resources, offers: list[Offer], taken: list[Use], fallback: bool
) -> None:
    def starts(one: Resources) -> bool:
        return bool(place([job(one)], offers, taken, POOLS, {}, {}, NOW, fallback).placements)

    why = explain(job(want), offers, taken, 0, fallback)
    assert why.code in WAIT_CODES
    assert (why.code == "ready") == starts(want)
    if why.fix.startswith("Lower") and "wait" in why.fix:
        assert starts(_follow(want, why.fix).check())


@pytest.mark.parametrize("n_ahead", [0, 7])
def test_it_never_shows_a_negative_figure(n_ahead: int) -> None:
    over = [Use("cpu", 9000, 40 * GIB)]
    why = explain(job(Resources(1000)), [CPU], over, n_ahead, False)
    assert "-" not in why.detail + why.fix
