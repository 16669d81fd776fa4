"""Python SDK of Trainshed: ``AsyncClient``, and ``Client`` which is derived from it.

    from trainshed_client import Client

    with Client() as shed:                      # profile, TRAINSHED_URL, TRAINSHED_API_KEY
        job = shed.jobs.create(["python", "train.py"], inputs=shed.uploads.upload_folder("."))
        shed.jobs.wait(job.id)

Names load on first use, so that the command line starts without an HTTP library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainshed_client.client import AsyncClient as AsyncClient
    from trainshed_client.errors import Conflict as Conflict
    from trainshed_client.errors import InvalidInput as InvalidInput
    from trainshed_client.errors import NotAllowed as NotAllowed
    from trainshed_client.errors import NotAuthenticated as NotAuthenticated
    from trainshed_client.errors import NotFound as NotFound
    from trainshed_client.errors import PaymentRequired as PaymentRequired
    from trainshed_client.errors import RateLimited as RateLimited
    from trainshed_client.errors import TrainshedError as TrainshedError
    from trainshed_client.errors import Unavailable as Unavailable
    from trainshed_client.errors import Unreachable as Unreachable
    from trainshed_client.errors import WaitTimeout as WaitTimeout
    from trainshed_client.sync import Client as Client

_HOMES = {
    "AsyncClient": "client",
    "Client": "sync",
    **dict.fromkeys(
        (
            "Conflict",
            "InvalidInput",
            "NotAllowed",
            "NotAuthenticated",
            "NotFound",
            "PaymentRequired",
            "RateLimited",
            "TrainshedError",
            "Unavailable",
            "Unreachable",
            "WaitTimeout",
        ),
        "errors",
    ),
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
