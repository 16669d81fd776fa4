"""Mail through the operator's SMTP server."""

from __future__ import annotations

from trainshed.ports.manifest import Manifest

MANIFEST = Manifest(
    name="email",
    target="trainshed.channels.email.channel:EmailChannel",
    summary="Sends mail, as HTML and text, through the operator's SMTP server.",
)
