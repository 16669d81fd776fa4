"""What a Job wants (Resources), what is for hire (Offer, Pool), and whether one fits the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from trainshed.domain.errors import InvalidInput
from trainshed.domain.ledger import Unit

GIB = 1024**3
MIN_MILLICPUS = 50
MAX_MILLICPUS = 1_024_000
MIN_MEMORY = 16 * 1024**2
MAX_MEMORY = 64 * 1024 * GIB
MAX_GPUS = 64


@dataclass(frozen=True, slots=True)
class Resources:
    """What a Job wants. CPUs are held as thousandths so that sums are exact."""

    millicpus: int = 1000
    memory_bytes: int = GIB
    gpus: int = 0
    gpu_type: str | None = None

    @property
    def cpus(self) -> float:
        """CPUs, fractional from 0.05."""
        return self.millicpus / 1000

    def check(self) -> Resources:
        """Return self if every figure is within the bounds any machine could have.

        Raises:
            InvalidInput: naming the field and its bounds.
        """
        bounds = (
            ("cpus", self.millicpus, MIN_MILLICPUS, MAX_MILLICPUS, "0.05 to 1024 CPUs"),
            ("memory_bytes", self.memory_bytes, MIN_MEMORY, MAX_MEMORY, "16 MiB to 64 TiB"),
            ("gpus", self.gpus, 0, MAX_GPUS, "0 to 64 GPUs"),
        )
        for name, value, low, high, words in bounds:
            if not low <= value <= high:
                raise InvalidInput(f"resources.{name} must be {words}.", field=f"resources.{name}")
        if self.gpu_type is not None and self.gpus == 0:
            raise InvalidInput(
                "resources.gpu_type needs resources.gpus of at least 1.", field="resources.gpu_type"
            )
        return self


@dataclass(frozen=True, slots=True)
class Pool:
    """Configured capacity that shares a GPU type and a price.

    ``price_ucredits`` is per GPU-hour, or per core-hour for a pool without GPUs;
    ``charge_increment`` is the smallest amount charged, in micro-credits. All money of its Jobs
    is in ``unit``. With ``per_job`` (in millionths of the unit) a Job costs that, however long it
    runs.
    """

    name: str
    gpu_type: str | None
    vram_bytes: int
    price_ucredits: int
    charge_increment: int = 1
    minimum_charge: int = 0
    unit: Unit = Unit.CREDIT
    per_job: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """One machine's capacity in one pool. ``devices`` are exclusive (one Attempt each)."""

    id: str
    executor: str
    pool: str
    millicpus: int
    memory_bytes: int
    gpu_type: str | None = None
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Use:
    """What one live lease occupies of an Offer.

    ``ends_at``: when it ends at the latest, None if unknown; ``leaving``: it was asked to stop.
    """

    offer_id: str
    millicpus: int
    memory_bytes: int
    devices: tuple[str, ...] = ()
    ends_at: datetime | None = None
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Free:
    """What is left of an Offer."""

    offer: Offer
    millicpus: int
    memory_bytes: int
    devices: tuple[str, ...] = field(default=())

    def after(self, use: Use) -> Free:
        """Return what is left once ``use`` is taken as well."""
        return Free(
            self.offer,
            self.millicpus - use.millicpus,
            self.memory_bytes - use.memory_bytes,
            tuple(d for d in self.devices if d not in use.devices),
        )

    def without(self, use: Use) -> Free:
        """Return what is left once ``use`` has ended."""
        freed = {*self.devices, *use.devices}
        return Free(
            self.offer,
            self.millicpus + use.millicpus,
            self.memory_bytes + use.memory_bytes,
            tuple(d for d in self.offer.devices if d in freed),
        )

    def less(self, want: Resources) -> Free:
        """Return what is left beside room kept for ``want``; never below nothing."""
        return Free(
            self.offer,
            max(self.millicpus - want.millicpus, 0),
            max(self.memory_bytes - want.memory_bytes, 0),
            self.devices[want.gpus :],
        )


def free_of(offer: Offer, uses: list[Use]) -> Free:
    """Return what is left of ``offer``: always derived from live leases, never stored."""
    free = Free(offer, offer.millicpus, offer.memory_bytes, offer.devices)
    for use in uses:
        if use.offer_id == offer.id:
            free = free.after(use)
    return free


def shortfall(want: Resources, free: Free, cpu_fallback: bool = False) -> str | None:
    """Return the first resource (``cpus memory gpus gpu_type``) that does not fit, or None.

    With ``cpu_fallback`` (D10) a GPU request may take an offer without GPUs: it occupies CPUs
    and memory only.
    """
    fallback = cpu_fallback and want.gpus > 0 and not free.offer.devices
    if want.gpus and not fallback:
        if want.gpu_type is not None and want.gpu_type != free.offer.gpu_type:
            return "gpu_type"
        if len(free.devices) < want.gpus:
            return "gpus"
    if want.millicpus > free.millicpus:
        return "cpus"
    if want.memory_bytes > free.memory_bytes:
        return "memory"
    return None
