"""``Client``: the blocking client, derived from ``AsyncClient`` when this module is imported.

``sync.pyi`` tells type checkers what comes out; ``sdk/python/client/make_stub.py`` writes it, and a
test fails when it is out of date.
"""

from __future__ import annotations

from trainshed_client.client import AsyncClient
from trainshed_client.portal import derive

Client = derive(AsyncClient, "Client")
Client.__module__ = __name__
