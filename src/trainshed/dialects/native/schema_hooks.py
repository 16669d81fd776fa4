"""The wire shapes of what comes in about webhooks and channels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainshed.dialects.native.schema import Body, Id

Name = Annotated[str, Field(min_length=1, max_length=100)]
Url = Annotated[str, Field(min_length=1, max_length=2048)]
Pattern = Annotated[str, Field(min_length=1, max_length=64)]
Patterns = Annotated[list[Pattern], Field(min_length=1, max_length=64)]
Recipients = Annotated[
    list[Annotated[str, Field(min_length=3, max_length=254)]], Field(min_length=1, max_length=10)
]


class WebhookBody(Body):
    """A new webhook; ``job_id`` narrows it to one Job."""

    name: Name
    url: Url
    events: Patterns
    job_id: Id | None = None


class WebhookPatch(Body):
    """What changes of a webhook."""

    name: Name | None = None
    url: Url | None = None
    events: Patterns | None = None
    active: bool | None = None


class ChannelBody(Body):
    """A new channel: ``url`` for Slack, ``to`` for e-mail."""

    channel: Literal["slack", "email"]
    name: Name
    events: Patterns
    url: Url | None = None
    to: Recipients | None = None
    job_id: Id | None = None


class ChannelPatch(Body):
    """What changes of a channel."""

    name: Name | None = None
    events: Patterns | None = None
    active: bool | None = None
    url: Url | None = None
    to: Recipients | None = None
