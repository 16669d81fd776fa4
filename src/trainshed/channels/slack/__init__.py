"""Messages to a Slack incoming webhook, or to what speaks its language."""

from __future__ import annotations

from trainshed.ports.manifest import Manifest

MANIFEST = Manifest(
    name="slack",
    target="trainshed.channels.slack.channel:SlackChannel",
    summary="Posts a message to a Slack incoming webhook.",
)
