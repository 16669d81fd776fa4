"""What comes in about Schedules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainshed.dialects.native.schema import Body, JobBody, Text

Cron = Annotated[str, Field(min_length=1, max_length=200)]
Zone = Annotated[str, Field(min_length=1, max_length=64)]
CatchUp = Literal["skip", "one", "all"]
Overlap = Literal["skip", "queue", "allow"]


class ScheduleBody(Body):
    """A new Schedule; ``job`` is the template of its Jobs."""

    name: Text
    cron: Cron
    job: JobBody
    zone: Zone = "UTC"
    catch_up: CatchUp = "one"
    overlap: Overlap = "skip"
    paused: bool = False


class ScheduleChange(Body):
    """What is to be another."""

    name: Text | None = None
    cron: Cron | None = None
    job: JobBody | None = None
    zone: Zone | None = None
    catch_up: CatchUp | None = None
    overlap: Overlap | None = None
    paused: bool | None = None


class PreviewBody(Body):
    """An expression to be tried."""

    cron: Cron
    zone: Zone = "UTC"
