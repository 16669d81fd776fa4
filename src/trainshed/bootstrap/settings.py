"""Every setting, from the command line, ``TRAINSHED_*``, ``.env``, a TOML file, then these
defaults.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from trainshed.domain.pricing import BoardPlan, Package
from trainshed.domain.resources import GIB, Pool


class PoolSetting(BaseModel):
    """A priced pool: ``credits_per_hour`` per GPU, or per core without a GPU type."""

    model_config = ConfigDict(extra="forbid")

    name: str
    gpu_type: str | None = None
    vram_gb: int = 0
    credits_per_hour: float = Field(ge=0, le=1_000_000)
    charge_increment_credits: float = Field(default=0, ge=0)
    nvml_names: list[str] = Field(default_factory=list)

    def pool(self) -> Pool:
        """Return the domain's Pool, in integer micro-credits."""
        step = round(self.charge_increment_credits * 1e6)
        return Pool(
            self.name, self.gpu_type, self.vram_gb * GIB,
            round(self.credits_per_hour * 1e6), max(step, 1), step,
        )  # fmt: skip


class PackageSetting(BaseModel):
    """Credits that the operator sells; ``price_cents`` in US cents."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=64)
    name: str = Field(min_length=1, max_length=100)
    credits: int = Field(ge=1, le=10**12)
    price_cents: int = Field(ge=0, le=10**12)

    def package(self) -> Package:
        """Return the domain's Package."""
        return Package(self.id, self.name, self.credits, self.price_cents)


class PlanSetting(BaseModel):
    """What an account may run on boards; ``price_cents`` in hundredths of ``currency``."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    runs: int = Field(ge=0, le=10**9)
    price_cents: int = Field(default=0, ge=0, le=10**12)
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    renewal_days: int = Field(default=30, ge=0, le=3660)

    def plan(self) -> BoardPlan:
        """Return the domain's BoardPlan."""
        return BoardPlan(self.name, self.runs, self.price_cents, self.currency, self.renewal_days)


def default_plans() -> list[PlanSetting]:
    """The documented ``free``, and two that the operator gives."""
    return [
        PlanSetting(name="free", runs=10),
        PlanSetting(name="pro", runs=200, price_cents=2_900),
        PlanSetting(name="team", runs=1_000, price_cents=9_900),
    ]


def default_packages() -> list[PackageSetting]:
    """Three sizes at the documents' rate of 100 credits to the dollar, larger ones cheaper."""
    return [
        PackageSetting(id="starter", name="Starter", credits=1_000, price_cents=1_000),
        PackageSetting(id="pro", name="Pro", credits=5_000, price_cents=4_500),
        PackageSetting(id="scale", name="Scale", credits=20_000, price_cents=16_000),
    ]


def gpu_pool(gpu_type: str, vram_gb: int, credits_per_hour: float) -> PoolSetting:
    """A pool named after its GPU, charged in whole credits."""
    return PoolSetting(
        name=gpu_type, gpu_type=gpu_type, vram_gb=vram_gb,
        credits_per_hour=credits_per_hour, charge_increment_credits=1,
    )  # fmt: skip


def default_pools() -> list[PoolSetting]:
    """The pools and prices that the documents print, and the machine's own CPUs."""
    return [
        PoolSetting(name="local-cpu", credits_per_hour=1),
        gpu_pool("t4", 16, 10),
        gpu_pool("v100", 32, 25),
        gpu_pool("a100", 80, 50),
    ]


def default_data() -> Path:
    """``$XDG_DATA_HOME/trainshed``, else ``~/.local/share/trainshed``."""
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(home) / "trainshed"


def named(name: str, default: Any = None, other: str = "", **more: Any) -> Any:
    """Return a field that is also read without our prefix, under its own name or ``other``."""
    alias = AliasChoices(f"trainshed_{name}", other or name)
    return Field(default=default, validation_alias=alias, **more)


def _level(given: object) -> object:
    """LOG_LEVEL is written in capitals elsewhere, and has more words."""
    words = {"warn": "warning", "critical": "error", "fatal": "error"}
    text = given.strip().lower() if isinstance(given, str) else given
    return words.get(text, text) if isinstance(text, str) else text


class Settings(BaseSettings):
    """The whole configuration; unknown names in the TOML file are errors."""

    model_config = SettingsConfigDict(
        env_prefix="TRAINSHED_",
        env_file=".env",
        extra="ignore",
        env_nested_delimiter="__",
        use_attribute_docstrings=True,
        populate_by_name=True,
    )

    data: Path = Field(default_factory=default_data)
    """Where everything is kept; made 0700."""
    listen: list[str] = ["127.0.0.1:8000", "127.0.0.1:5001"]
    """HOST:PORT, may be several; the first must be free."""
    database: str | None = named("database", other="database_url")
    """SQLAlchemy URL of PostgreSQL (`postgresql+psycopg://…`); default SQLite in `data`."""
    allow_remote: bool = False
    """Allow listening beyond loopback; put TLS in front."""
    allowed_hosts: list[str] = []
    """Further host names that requests may carry."""
    trusted_proxies: list[str] = []
    """Addresses whose X-Forwarded-* headers are believed."""
    public_url: str | None = None
    """The address users and jobs reach; default the first listener's."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_level)] = (
        named("log_level", "info")
    )
    """How much the server says on standard error."""
    sign_up: Literal["auto", "open", "closed"] = "auto"
    """Who may register: `auto` is open on loopback only."""
    cpu_fallback: Literal["auto", "on", "off"] = "auto"
    """Run GPU jobs on CPUs where there is no GPU: `auto` is on for loopback."""
    require_isolation: bool = True
    """Refuse to run jobs at level `none` once a second person has an account."""
    container_engine: Literal["auto", "podman", "docker"] = "auto"
    """What runs jobs that name an image: `auto` is podman if it is there, else docker."""
    image_pull: Literal["missing", "always", "never"] = "missing"
    """When images are pulled; with several people `missing` asks the registry each time."""
    image_registries: list[str] = []
    """Registries that images may come from; empty means any."""
    preemption: Literal["own", "any", "off"] = "own"
    """Evict running jobs for ones of strictly higher priority that do not fit beside them: `own`
    of the same account only, `any` of whichever, `off` none."""
    preempt_min_run_s: float = Field(default=60.0, ge=0, le=86_400)
    """How long a job may run before one of higher priority evicts it."""
    pools: list[PoolSetting] = Field(default_factory=default_pools)
    """Priced pools; one must be `local-cpu`."""
    cpus: float | None = None
    """CPUs to hire out; default all of the machine."""
    memory_bytes: int | None = None
    """Memory to hire out; default 90 % of the machine."""
    heartbeat_s: float = Field(default=5.0, gt=0, le=60)
    """How often a runner renews its lease."""
    lease_s: float = Field(default=25.0, gt=0, le=600)
    """How long a lease lives without renewal."""
    max_upload_bytes: int = 20 * GIB
    """Largest upload."""
    max_artifact_bytes: int = 100 * GIB
    """Largest file, and largest workspace, of a job."""
    max_body_bytes: int = 8 * 1024**2
    """Largest request body outside uploads."""
    quota_bytes: int = 100 * GIB
    """Storage of an account that has no quota of its own."""
    min_free_bytes: int = GIB // 4
    """Writes are refused when the disk has less than this."""
    log_limit_bytes: int = GIB
    """Longest log stream of an attempt; the rest is dropped, visibly."""
    metric_keys_limit: int = 1000
    """Most metric names of an attempt; further ones become `_other`."""
    metric_points_limit: int = 10_000_000
    """Most metric points of an attempt."""
    keep_checkpoints: int = 2
    """Checkpoints kept per job beside pinned ones."""
    environment_build_s: float = Field(default=1800, gt=0, le=86_400)
    """How long the build of a job's environment may take."""
    environments_bytes: int = Field(default=20 * GIB, ge=0)
    """Disk for built environments; those not used for longest go first."""
    environment_sdists: Literal["auto", "on", "off"] = "auto"
    """Packages that run code of their own while they are built: `auto` takes them while one person
    uses a loopback address, `off` takes wheels only."""
    pip_index_url: SecretStr | None = None
    """Package index for environments; default `PIP_INDEX_URL`, or pip's own."""
    environments: dict[str, str] = {}
    """Framework (`pytorch`, …) → path of an interpreter that has it."""
    retention_days: int = Field(default=0, ge=0, le=36_500)
    """Days after a job's end until its logs, metrics and files are removed; 0 keeps them."""
    admin_credits: int = 10_000
    """Credits the first admin is granted, as a visible entry."""
    input_roots: dict[str, list[Path]] = Field(default_factory=dict)
    """Directories that accounts may name inputs from, by account name; none by default."""
    low_credits: int = Field(default=100, ge=0, le=10**12)
    """An account is told (`credits.low`) when fewer credits are left available; 0 is never."""
    delivery_backlog: int = Field(default=20_000, ge=100, le=10_000_000)
    """Deliveries that one webhook or channel may have waiting or dead; past that the oldest are
    dropped, dead ones first, and counted in its `dropped`."""
    credit_packages: list[PackageSetting] = Field(default_factory=default_packages)
    """What `/billing/packages` lists; Trainshed itself sells nothing."""
    board_plans: list[PlanSetting] = Field(default_factory=default_plans, min_length=1)
    """What accounts may run on boards: `name`, `runs`, `price_cents`, `currency`, `renewal_days` (0
    is never). The first is every new account's; whoever signs up may take one without a price."""
    board_emulators: int | None = Field(default=None, ge=1)
    """How many jobs may run on one board at once, as its availability tells; default as many as the
    machine holds."""
    caches_bytes: int = Field(default=2 * GIB, ge=0)
    """Disk for what runs on boards keep for the next ones; the oldest files go first."""
    local_credits: int = Field(default=10_000, ge=0)
    """Credits the built-in account `local` is granted once, as a visible entry: open mode spends
    them."""
    enable_api_auth: bool = named("enable_api_auth", False)
    """The Orchestrator's API needs a key; off, it is open on loopback (docs/orchestrator.md)."""
    api_key: SecretStr | None = named("api_key")
    """A key that acts as the account `local` on the Orchestrator's API."""
    max_workers: int | None = named("max_workers", ge=1)
    """Most jobs that run at once; default as many as fit."""
    images: dict[str, str] = {}
    """Container image → interpreter on this machine that stands for it (JSON)."""
    orchestrator_backoff_s: float = Field(default=60.0, ge=0, le=3600)
    """Wait before an Orchestrator job's first retry; it doubles each time, up to an hour."""
    orchestrator_rate_limit_per_minute: int = Field(default=0, ge=0)
    """Requests a principal may make per minute on the Orchestrator's API; 0 is no limit."""
    rate_limit_per_minute: int = 6000
    """Requests a principal may make per minute."""
    max_open_requests: int = Field(default=2048, ge=1)
    """Requests open at once, streams included; further ones are answered 503."""
    max_working_requests: int = Field(default=128, ge=1)
    """Requests worked on at once; further ones are answered 503, never health or runners."""
    session_days: int = 7
    """How long a login lasts."""
    presign_ttl_s: int = Field(default=900, le=900)
    """How long a signed URL lives."""
    outbound_allow: list[str] = []
    """Networks (`10.0.0.0/8`), addresses and hosts that webhooks may reach though not public."""
    outbound_ports: list[int] = [80, 443, 8080, 8443]
    """Ports that webhooks may reach at public addresses."""
    smtp_server: str | None = named("smtp_server")
    """Mail server for e-mail notifications; none are sent without. Also `SMTP_SERVER`."""
    smtp_port: int = named("smtp_port", 587)
    """Its port. Also `SMTP_PORT`."""
    smtp_tls: Literal["auto", "starttls", "tls", "off"] = "auto"
    """`auto` takes STARTTLS when it is offered and never sends the password without it."""
    sender_email: str | None = named("sender_email")
    """Who notifications come from, and the login name. Also `SENDER_EMAIL`."""
    sender_password: SecretStr | None = named("sender_password")
    """The login's password; none means no login. Also `SENDER_PASSWORD`."""
    recipient_emails: Annotated[list[str], NoDecode] = named("recipient_emails", [])
    """Who hears, by mail, of every Orchestrator job that completes, retries or fails; separated by
    commas. Also `RECIPIENT_EMAILS`."""
    slack_webhook_url: SecretStr | None = named("slack_webhook_url")
    """Slack incoming webhook that hears the same. Also `SLACK_WEBHOOK_URL`."""

    @field_validator("recipient_emails", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [one.strip() for one in value.split(",") if one.strip()]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order: command line, environment, ``.env``, TOML (``TRAINSHED_CONFIG``), defaults."""
        toml = TomlConfigSettingsSource(settings_cls, os.environ.get("TRAINSHED_CONFIG"))
        return init_settings, env_settings, dotenv_settings, toml

    def database_url(self) -> str:
        """The given URL, or SQLite in the data directory."""
        return self.database or f"sqlite:///{self.data / 'trainshed.db'}"


def load(config: Path | None = None, env_file: Path | None = None, **given: object) -> Settings:
    """Return the settings; ``given`` are the command line's, None meaning not given."""
    if config is not None:
        os.environ["TRAINSHED_CONFIG"] = str(config)
    cli = {k: v for k, v in given.items() if v is not None}
    return Settings(_env_file=env_file or ".env", **cli)  # type: ignore[arg-type]
