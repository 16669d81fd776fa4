"""What a machine offers, with fake NVML and fake cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainshed.executors.process import MANIFEST, install, procs
from trainshed.executors.process.executor import ProcessExecutor
from trainshed.executors.process.offers import found_gpus, offers, usable_cpus, usable_memory


class FakeNvml:
    """As much of pynvml as is used."""

    def __init__(self, names: list[str], broken: bool = False) -> None:
        self.names = names
        self.broken = broken
        self.open = 0

    def nvmlInit(self) -> None:
        if self.broken:
            raise RuntimeError("no driver")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return self.names[handle].encode()

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}"


def test_machine_without_gpus(tmp_path: Path) -> None:
    one = ProcessExecutor(tmp_path, cpus=4, memory_bytes=1000, nvml=FakeNvml([], broken=True))
    (offer,) = one.offers()
    assert (offer.pool, offer.millicpus, offer.memory_bytes, offer.devices) == (
        "local-cpu", 4000, 1000, (),
    )  # fmt: skip
    assert one.offers() is one.offers(), "looked up once a minute"


def test_gpus_are_named_by_their_pools() -> None:
    nvml = FakeNvml(["NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB"])
    gpus = found_gpus(nvml)
    assert nvml.open == 0
    (offer,) = offers(gpus, {"NVIDIA A100-SXM4-80GB": "a100"}, 8, 800)
    assert (offer.gpu_type, offer.devices, offer.millicpus) == ("a100", ("GPU-0", "GPU-1"), 8000)


def test_two_types_share_the_machine_without_selling_it_twice() -> None:
    gpus = [("GPU-0", "NVIDIA T4"), ("GPU-1", "Tesla V100"), ("GPU-2", "Tesla V100")]
    found = offers(gpus, {"Tesla V100": "v100"}, 6, 600)
    assert [(o.gpu_type, o.millicpus, o.memory_bytes) for o in found] == [
        ("t4", 2000, 200),
        ("v100", 4000, 400),
    ]
    assert len({o.id for o in found}) == 2


def test_cgroup_limits_count(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path) == len(os.sched_getaffinity(0))
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1000000\n")
    assert usable_cpus(tmp_path) == 0.5
    assert usable_memory(tmp_path) == 900_000
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert usable_cpus(tmp_path) == len(os.sched_getaffinity(0))


def test_another_process_is_never_taken_for_a_runner(tmp_path: Path) -> None:
    me = os.getpid()
    handle = {"pid": me, "start_time": procs.start_time(me), "boot_id": procs.boot_id()}
    assert procs.alive(handle, procs.boot_id()) == me
    for change in ({"start_time": 1}, {"boot_id": "other"}, {"pid": 0}, {"pid": 2**22}):
        assert procs.alive(handle | change, procs.boot_id()) is None


def test_poll_reads_what_a_runner_left(tmp_path: Path) -> None:
    place = tmp_path / "workspaces" / "att_1"
    place.mkdir(parents=True)
    one = ProcessExecutor(tmp_path)
    gone = {"pid": 999_999_999, "start_time": 1, "boot_id": procs.boot_id()}
    assert one.poll({"att_1": gone})["att_1"].outcome is None
    (place / "outcome.json").write_text('{"cause": "exited", "exit_code": 0}')
    assert one.poll({"att_1": gone})["att_1"].outcome == {"cause": "exited", "exit_code": 0}
    (place / "outcome.json").write_text("torn")
    assert one.poll({"att_1": gone})["att_1"].outcome is None


def test_attempt_ids_cannot_leave_the_directory(tmp_path: Path) -> None:
    one = ProcessExecutor(tmp_path)
    for bad in ("../x", "a/b", ".", ""):
        with pytest.raises(ValueError, match="attempt id"):
            one.clean(bad)
    one.clean("att_absent")


def test_manifest_and_helper(tmp_path: Path) -> None:
    assert MANIFEST.name == "process"
    assert install.template().is_file()
    library = install.prepare(tmp_path)
    assert (library / "trainshed_job" / "__init__.py").stat().st_mode & 0o777 == 0o644
