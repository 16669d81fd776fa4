"""Python SDK of the Middleman ML training platform.

    from middleman import MiddlemanClient

    with MiddlemanClient() as client:           # MIDDLEMAN_API_KEY, MIDDLEMAN_API_URL
        job = client.create_job("/scripts/train.py", "/data/dataset", gpu_type="a100")
        print(client.wait_for_job(job.id).status)

Names load on first use, so that the command line starts without an HTTP library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from middleman.client import MiddlemanClient as MiddlemanClient
    from middleman.errors import ApiError as ApiError
    from middleman.errors import AuthenticationError as AuthenticationError
    from middleman.errors import InsufficientCreditsError as InsufficientCreditsError
    from middleman.errors import MiddlemanError as MiddlemanError
    from middleman.models import CreditBalance as CreditBalance
    from middleman.models import Framework as Framework
    from middleman.models import GpuType as GpuType
    from middleman.models import Job as Job
    from middleman.models import JobStatus as JobStatus

_HOMES = {
    "ApiError": "errors",
    "AuthenticationError": "errors",
    "CreditBalance": "models",
    "Framework": "models",
    "GpuType": "models",
    "InsufficientCreditsError": "errors",
    "Job": "models",
    "JobStatus": "models",
    "MiddlemanClient": "client",
    "MiddlemanError": "errors",
}
__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("middleman-ml")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
