"""The wire shapes of the MIMaaS door. What comes in may have further fields; they are ignored."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SMALL_BYTES = 16 * 1024
Word = Annotated[str, Field(max_length=254)]
Secret = Annotated[str, Field(max_length=1024, repr=False)]
Status = Literal["pending", "processing", "done", "error"]


class Body(BaseModel):
    """Base of every request body."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)


class LoginBody(Body):
    """Who logs in."""

    username: Word
    password: Secret


class RegisterBody(LoginBody):
    """Who signs up."""

    email: Word = ""
    first_name: Word = ""
    surname: Word = ""
    plan: Word = "free"


class Token(BaseModel):
    """What later calls carry in ``Authorization``; shown this once."""

    api_token: str


class Me(BaseModel):
    """Who is calling, and how many runs are left."""

    id: int
    username: str
    email: str
    first_name: str
    surname: str
    available_runs: int
    plan: str


class Specifications(BaseModel):
    """Sizes in KB of 1024 bytes, the voltage in mV."""

    flash_size: int
    ram_size: int
    max_available_tensor_arena_size: int
    voltage: int


class Provenance(BaseModel):
    """Where figures of this board come from. The bands are relative: 0.15 is ±15 %.

    ``calibrated_on``: the models whose published times the board's factor was fitted to.
    """

    source: str
    duration_band: float
    power_band: float
    power_basis: str
    calibrated_on: list[str]
    model_version: str


class Board(BaseModel):
    """A kind of board."""

    name: str
    variant: str
    board_type: str
    specifications: Specifications
    available_count: int
    title: str
    notes: list[str]
    provenance: Provenance


class Boards(BaseModel):
    """Every board."""

    boards: list[Board]


class BoardStatus(BaseModel):
    """How busy a board is. ``message`` says what is missing while it is offline."""

    board: str
    status: Literal["available", "busy", "offline"]
    available_count: int
    queue_length: int
    message: str = ""


class Plan(BaseModel):
    """What accounts may run."""

    id: int
    name: str
    available_runs: int
    price: float
    currency: str
    renewal_days: int


class Plans(BaseModel):
    """Every plan."""

    plans: list[Plan]


class Estimate(BaseModel):
    """What a model needs, as far as it is known before anything is built.

    ``macs``: null for a model that is too large, or is quantised first.
    """

    arena_bytes: int
    flash_bytes: int
    macs: int | None
    n_operators: int


class Validation(BaseModel):
    """Whether a model can run on a board; errors and warnings are sentences."""

    valid: bool
    errors: list[str]
    warnings: list[str]
    estimate: Estimate | None = None


class Result(BaseModel):
    """The averages of the inferences: bytes, seconds, µW, µJ."""

    ram_usage: int
    rom_usage: int
    duration_avg_s: float
    avg_power_uW: float
    avg_energy_uJ: float


class Request(BaseModel):
    """A model that was sent for a board."""

    id: int
    status: Status
    board: str
    quantize: bool
    network: str
    folder_name: str
    error_message: str | None = None
    result: Result | None = None
    created_at: str
