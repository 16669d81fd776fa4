"""How the native door shows errors: RFC 9457 problems, straight from the shared table."""

from __future__ import annotations

from trainshed.http.errors import TABLE
from trainshed.http.problems import render

#: code -> HTTP status, for the documentation and the SDKs' tests.
STATUS = {code: look.status for code, look in TABLE.items()}

__all__ = ["STATUS", "render"]
