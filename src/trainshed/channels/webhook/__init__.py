"""Signed HTTP POSTs, as Standard Webhooks 1.0.0 says."""

from __future__ import annotations

from trainshed.ports.manifest import Manifest

MANIFEST = Manifest(
    name="webhook",
    target="trainshed.channels.webhook.channel:WebhookChannel",
    summary="POSTs each event as JSON, signed as Standard Webhooks 1.0.0 says.",
)
