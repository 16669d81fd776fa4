"""What the API answers, and how it prints. Objects keep the JSON they came from in ``raw``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from mimaas.exceptions import NetworkError

T = TypeVar("T")
_KB = 1024


@dataclass(frozen=True)
class User:
    """Who is logged in, with the runs that are left."""

    id: int
    username: str
    email: str
    first_name: str
    surname: str
    available_runs: int
    plan: str = "free"
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the JSON object as a profile."""
        texts = {k: value(data, k, str) for k in ("username", "email", "first_name", "surname")}
        return cls(
            id=value(data, "id", int),
            available_runs=value(data, "available_runs", int),
            plan=value(data, "plan", str, "free"),
            raw=data,
            **texts,
        )


@dataclass(frozen=True)
class Plan:
    """What an account gets: so many runs for a price."""

    id: int
    name: str
    available_runs: int
    price: float = 0.0
    currency: str = "USD"
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the JSON object as a plan."""
        return cls(
            id=value(data, "id", int),
            name=value(data, "name", str),
            available_runs=value(data, "available_runs", int),
            price=value(data, "price", float, 0.0),
            currency=value(data, "currency", str, "USD"),
            raw=data,
        )

    def __str__(self) -> str:
        price = f"${self.price:.2f} {self.currency}" if self.price else "Free"
        return f"{self.name.title()} Plan: {self.available_runs} runs - {price}"


@dataclass(frozen=True)
class Board:
    """A kind of board. Sizes in KB of 1024 bytes, the voltage in mV."""

    name: str
    variant: str
    board_type: str
    flash_size_kb: int = 0
    ram_size_kb: int = 0
    max_tensor_arena_kb: int = 0
    voltage_mv: int = 0
    available_count: int = 0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the JSON object as a board."""
        facts: Mapping[str, Any] = value(data, "specifications", dict, {})
        return cls(
            name=value(data, "name", str),
            variant=value(data, "variant", str),
            board_type=value(data, "board_type", str),
            flash_size_kb=value(facts, "flash_size", int, 0),
            ram_size_kb=value(facts, "ram_size", int, 0),
            max_tensor_arena_kb=value(facts, "max_available_tensor_arena_size", int, 0),
            voltage_mv=value(facts, "voltage", int, 0),
            available_count=value(data, "available_count", int, 0),
            raw=data,
        )

    @property
    def flash_size_bytes(self) -> int:
        """The flash in bytes."""
        return self.flash_size_kb * _KB

    @property
    def ram_size_bytes(self) -> int:
        """The RAM in bytes."""
        return self.ram_size_kb * _KB

    def __str__(self) -> str:
        return "\n  ".join(
            (
                f"Board Type: {self.name}",
                f"Variant: {self.variant}",
                f"Flash: {self.flash_size_kb} KB",
                f"RAM: {self.ram_size_kb} KB",
                f"Max Tensor Arena: {self.max_tensor_arena_kb} KB",
                f"Voltage: {self.voltage_mv} mV",
                f"Available: {self.available_count} board(s)",
            )
        )


@dataclass(frozen=True)
class Results:
    """What a model costs on a board, averaged over the inferences of a request.

    Whether a figure is measured, emulated or estimated, and its error band, are in ``raw`` where
    the server tells them, and in the request's report.
    """

    ram_usage_bytes: int
    rom_usage_bytes: int
    duration_avg_s: float
    avg_power_uW: float
    avg_energy_uJ: float
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the JSON object as results."""
        return cls(
            ram_usage_bytes=value(data, "ram_usage", int),
            rom_usage_bytes=value(data, "rom_usage", int),
            duration_avg_s=value(data, "duration_avg_s", float),
            avg_power_uW=value(data, "avg_power_uW", float),
            avg_energy_uJ=value(data, "avg_energy_uJ", float),
            raw=data,
        )

    @property
    def inference_time_ms(self) -> float:
        """One inference in milliseconds."""
        return self.duration_avg_s * 1000

    @property
    def ram_usage_kb(self) -> float:
        """RAM in KB of 1024 bytes."""
        return self.ram_usage_bytes / _KB

    @property
    def rom_usage_kb(self) -> float:
        """Flash in KB of 1024 bytes."""
        return self.rom_usage_bytes / _KB

    def __str__(self) -> str:
        return "\n  ".join(
            (
                "Results:",
                f"Inference Time: {self.inference_time_ms:.2f} ms",
                f"Energy: {self.avg_energy_uJ:.2f} µJ",
                f"Power: {self.avg_power_uW:.2f} µW",
                f"RAM: {self.ram_usage_kb:.1f} KB",
                f"Flash: {self.rom_usage_kb:.1f} KB",
            )
        )


@dataclass(frozen=True)
class Request:
    """A model that was submitted for a board. ``status``: pending, processing, done or error."""

    id: int
    status: str
    board: str
    quantize: bool = False
    network_path: str | None = None
    error_message: str | None = None
    results: Results | None = None
    folder_name: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the JSON object as a request; a result that is not whole counts as none."""
        identity = value(data, "id", int)
        try:
            results = Results.from_dict(data["result"]) if data.get("result") else None
        except NetworkError:
            results = None
        return cls(
            id=identity,
            status=value(data, "status", str),
            board=value(data, "board", str),
            quantize=value(data, "quantize", bool, False),
            network_path=value(data, "network", str, None),
            error_message=value(data, "error_message", str, None),
            results=results,
            folder_name=value(data, "folder_name", str, None),
            raw=data,
        )

    @property
    def is_complete(self) -> bool:
        """Whether it has ended, well or not."""
        return self.status in ("done", "error")

    @property
    def is_successful(self) -> bool:
        """Whether it has ended well."""
        return self.status == "done"

    @property
    def is_pending(self) -> bool:
        """Whether it waits for its turn."""
        return self.status == "pending"

    @property
    def is_processing(self) -> bool:
        """Whether it is being run."""
        return self.status == "processing"

    @property
    def has_error(self) -> bool:
        """Whether it has failed."""
        return self.status == "error"

    def __str__(self) -> str:
        line = f"Request #{self.id}: {self.status}"
        if self.has_error and self.error_message:
            return f"{line}\n  Error: {self.error_message}"
        if self.is_successful and self.results:
            return f"{line}\n  {self.results}"
        return line


_MISSING: Any = object()


def value(data: Any, key: str, kind: type[T], default: Any = _MISSING) -> Any:
    """Return ``data[key]``, which must be a ``kind``; absent or null takes the default.

    Raises:
        NetworkError: it is not there and has no default, or is of another type.
    """
    if not isinstance(data, Mapping):
        raise NetworkError("The server sent no object where one was expected.")
    found = data.get(key)
    if found is None:
        if default is _MISSING:
            raise NetworkError(f"The server sent no {key!r} where one was expected.")
        return default
    if kind is float and type(found) is int:
        found = float(found)
    wrong = not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool)
    if wrong or (isinstance(found, float) and not math.isfinite(found)):
        raise NetworkError(f"The server sent a {key!r} that is no {kind.__name__}.")
    return found
