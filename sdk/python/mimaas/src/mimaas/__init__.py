"""Python SDK of MIMaaS: what a TensorFlow Lite model costs on a microcontroller board.

    from mimaas import MIMaaSClient

    client = MIMaaSClient()                     # MIMAAS_API_URL, MIMAAS_API_TOKEN
    client.login("your_username", "your_password")
    request = client.submit_request("model.tflite", "nrf5340dk")
    print(client.wait_for_completion(request.id))

Names load on first use; ``mimaas.viz`` needs the extra ``viz``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimaas.client import MIMaaSClient as MIMaaSClient
    from mimaas.comparison import Comparison as Comparison
    from mimaas.comparison import compare as compare
    from mimaas.exceptions import AuthenticationError as AuthenticationError
    from mimaas.exceptions import BoardNotAvailableError as BoardNotAvailableError
    from mimaas.exceptions import ConfigurationError as ConfigurationError
    from mimaas.exceptions import MIMaaSError as MIMaaSError
    from mimaas.exceptions import NetworkError as NetworkError
    from mimaas.exceptions import ProcessingError as ProcessingError
    from mimaas.exceptions import QuotaExceededError as QuotaExceededError
    from mimaas.exceptions import ResourceNotFoundError as ResourceNotFoundError
    from mimaas.exceptions import TimeoutError as TimeoutError
    from mimaas.exceptions import ValidationError as ValidationError
    from mimaas.models import Board as Board
    from mimaas.models import Plan as Plan
    from mimaas.models import Request as Request
    from mimaas.models import Results as Results
    from mimaas.models import User as User

_HOMES = {
    "AuthenticationError": "exceptions",
    "Board": "models",
    "BoardNotAvailableError": "exceptions",
    "Comparison": "comparison",
    "ConfigurationError": "exceptions",
    "MIMaaSClient": "client",
    "MIMaaSError": "exceptions",
    "NetworkError": "exceptions",
    "Plan": "models",
    "ProcessingError": "exceptions",
    "QuotaExceededError": "exceptions",
    "Request": "models",
    "ResourceNotFoundError": "exceptions",
    "Results": "models",
    "TimeoutError": "exceptions",
    "User": "models",
    "ValidationError": "exceptions",
    "compare": "comparison",
}
__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mimaas")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
