"""The server's own log: JSON lines on standard error, secrets redacted, no forged lines."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

#: Anything that looks like one of our secrets, wherever it turns up.
_SECRET = re.compile(r"\b(ts_|tsr_|tsj_|ses_|mdlm_|whsec_)[A-Za-z0-9_\-+/]{12,}=*|\b[0-9a-f]{64}\b")
_NAMES = frozenset({"password", "secret", "token", "authorization", "api_key", "env"})


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask values by name and by shape."""
    for key, value in event.items():
        if key in _NAMES:
            event[key] = "***"
        elif isinstance(value, str):
            event[key] = _SECRET.sub(r"\1***", value) if _SECRET.search(value) else value
    return event


def configure(level: str) -> None:
    """Set up structlog and the standard library's loggers for this process."""
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


class _Json(logging.Formatter):
    """Render other people's log records through the same processors."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one JSON line."""
        event: dict[str, Any] = {"event": record.getMessage(), "logger": record.name}
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        event["level"] = record.levelname.lower()
        masked = redact(None, "", event)
        return str(structlog.processors.JSONRenderer()(None, "", masked))
