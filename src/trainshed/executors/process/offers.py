"""What this machine has for hire: its CPUs, 90 % of its memory, and its GPUs."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainshed.domain.resources import Offer

MEMORY_SHARE = 0.9
CPU_POOL = "local-cpu"
NO_LIMIT = 1 << 60
CGROUP = Path("/sys/fs/cgroup")


def offers(
    gpus: Sequence[tuple[str, str]], gpu_pools: Mapping[str, str], cpus: float, memory_bytes: int
) -> list[Offer]:
    """Return the machine as Offers: one, unless it has several types of GPU.

    ``gpus``: (device, NVML name). With several GPU types each is an Offer of its own, and CPUs and
    memory are divided by devices: offered twice they would be sold twice.
    """
    kinds: dict[str, list[str]] = {}
    for device, name in gpus:
        kinds.setdefault(gpu_pools.get(name, _plain(name)), []).append(device)
    millicpus = round(cpus * 1000)
    if not kinds:
        return [Offer("local", "process", CPU_POOL, millicpus, memory_bytes)]
    total = sum(len(devices) for devices in kinds.values())
    return [
        Offer(
            "local" if len(kinds) == 1 else f"local-{kind}",
            "process",
            kind,
            millicpus * len(devices) // total,
            memory_bytes * len(devices) // total,
            kind,
            tuple(devices),
        )
        for kind, devices in sorted(kinds.items())
    ]


def usable_cpus(root: Path = CGROUP) -> float:
    """Return the CPUs this process may use: its affinity, and its cgroup's quota if smaller."""
    found = float(len(os.sched_getaffinity(0)))
    quota = _quota(root)
    return found if quota is None else max(min(found, quota), 0.05)


def usable_memory(root: Path = CGROUP) -> int:
    """Return 90 % of the memory of the machine, or of the cgroup if that is smaller, in bytes."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in (root / "memory.max", root / "memory" / "memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limit = int(path.read_text(encoding="ascii"))
            if 0 < limit < NO_LIMIT:
                total = min(total, limit)
    return int(total * MEMORY_SHARE)


def found_gpus(nvml: Any | None = None) -> list[tuple[str, str]]:
    """Return (device, name) of every GPU, by NVML; none where it is not there or does not work.

    ``nvml``: a module like pynvml; by default that one, if it is installed.
    """
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return []
    try:
        nvml.nvmlInit()
    except Exception:  # its errors are its own and have no base that is always there
        return []
    try:
        count = int(nvml.nvmlDeviceGetCount())
        return [_gpu(nvml, index) for index in range(count)]
    finally:
        nvml.nvmlShutdown()


def _gpu(nvml: Any, index: int) -> tuple[str, str]:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name, uuid = nvml.nvmlDeviceGetName(handle), nvml.nvmlDeviceGetUUID(handle)
    texts = [x.decode() if isinstance(x, bytes) else str(x) for x in (uuid, name)]
    return texts[0], texts[1]


def _plain(name: str) -> str:
    return "-".join(name.lower().replace("nvidia", "").split())


def _quota(root: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        quota, period = (root / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota_us = int((root / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period_us = int((root / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii"))
        return quota_us / period_us if quota_us > 0 else None
    return None
