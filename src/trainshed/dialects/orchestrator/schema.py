"""The wire shapes. What a client sends beyond them is ignored: its own exports hold all keys."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

BODY_BYTES = 256 * 1024
SMALL_BYTES = 16 * 1024
MAX_PAGE = 1_000_000

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Image = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=512)]
Argument = Annotated[str, Field(max_length=131_072)]
Command = Annotated[list[Argument], Field(min_length=1, max_length=1024)]
Cron = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Retries = Annotated[int, Field(ge=0, le=10)]
Path = Annotated[str, Field(min_length=1, max_length=1024)]


class Body(BaseModel):
    """Base of every request body."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class JobCreate(Body):
    """A new training job."""

    name: Name
    image: Image
    command: Command
    schedule: Cron
    max_retries: Retries = 3
    checkpoint_path: Path | None = None


class JobUpdate(Body):
    """What is to be another: only what is sent."""

    name: Name = ""
    image: Image = ""
    command: Command = []
    schedule: Cron = ""
    max_retries: Retries = 3
    checkpoint_path: Path | None = None


class Job(BaseModel):
    """A training job; its state is that of its newest run."""

    job_id: str
    name: str
    image: str
    command: list[str]
    schedule: str
    max_retries: int
    retry_count: int
    checkpoint_path: str | None
    status: str
    started_at: str | None
    completed_at: str | None
    error_message: str | None
    created_at: str
    updated_at: str
    next_run_at: str | None


class RetriedJob(Job):
    """A job that runs again."""

    message: str


class Jobs(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[Job]
    total: int
    page: int
    page_size: int


class Stats(BaseModel):
    """How many jobs are in which state."""

    total_jobs: int
    pending: int
    running: int
    completed: int
    failed: int
    retrying: int


class Health(BaseModel):
    """Whether the server can work."""

    status: str
    timestamp: str
    service: str
    database_connected: bool


class NextRuns(BaseModel):
    """When a job runs next."""

    job_id: str
    schedule: str
    next_runs: list[str]


class Logs(BaseModel):
    """A piece of a run's log; ``next_offset`` is where the next piece begins."""

    job_id: str
    run_id: str
    attempt: int
    stream: str
    logs: str
    offset: int
    next_offset: int
    size: int


class Attempt(BaseModel):
    """One execution; ``resumed`` tells whether it went on from a checkpoint."""

    run_id: str
    due_at: str
    trigger: str
    attempt: int
    status: str
    started_at: str | None
    completed_at: str | None
    exit_code: int | None
    error_message: str | None
    resumed: bool
    isolation: str | None


class Attempts(BaseModel):
    """The executions of the newest runs, newest first."""

    job_id: str
    attempts: list[Attempt]


class Event(BaseModel):
    """Something that happened to a job."""

    event: str
    timestamp: str
    run_id: str | None
    message: str
    data: dict[str, Any]


class Events(BaseModel):
    """What happened to the newest runs, oldest first."""

    job_id: str
    events: list[Event]
