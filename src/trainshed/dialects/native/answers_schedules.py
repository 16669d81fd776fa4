"""The wire shapes of Schedules."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from trainshed.dialects.native.answers import Resources, Retry


class Template(BaseModel):
    """What each Job of a Schedule is made from; the values of ``env`` never come back."""

    workload: str
    params: dict[str, Any]
    command: list[str]
    inputs: list[dict[str, Any]]
    env: dict[str, str]
    environment: dict[str, str]
    resources: Resources
    max_runtime_s: int
    retry: Retry
    priority: int
    network: str
    labels: dict[str, str]
    grace_s: float
    checkpoint_every_epochs: int | None
    checkpoint_path: str
    resume_flag: str


class Schedule(BaseModel):
    """A Schedule; ``phase`` and ``last_job_id`` tell of its newest fire."""

    id: str
    name: str
    cron: str
    zone: str
    catch_up: str
    overlap: str
    dialect: str
    phase: str
    next_due: datetime | None
    paused_at: datetime | None
    last_job_id: str | None
    last_job_state: str | None
    last_error: str | None
    created_at: datetime
    updated_at: datetime
    job: Template


class Fire(BaseModel):
    """What came of one due time."""

    due_at: datetime
    fired_at: datetime
    late_s: float
    kind: str
    state: str
    job_id: str | None
    message: str


class Times(BaseModel):
    """The next due times."""

    items: list[datetime]
