"""The front page: which doors there are and how to begin, for people and for programs."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, JSONResponse, Response

from trainshed.http.guards import Door
from trainshed.http.hall import HttpSettings

STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.55 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1.2rem}"
    "h1{margin:0;font-size:2rem}h1 small{font-size:.9rem;font-weight:400;opacity:.65}"
    "h2{margin:2rem 0 .5rem;font-size:1.1rem}"
    "code,pre{font:.88rem/1.6 ui-monospace,monospace}"
    "pre{padding:.8rem 1rem;overflow-x:auto;border-radius:.4rem;background:#8881;margin:.5rem 0}"
    "ul{list-style:none;padding:0}li{padding:.6rem 0;border-top:1px solid #8883}"
    "li b{display:block}li span{opacity:.75}"
)
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
#: No script and no other host; one style, known by its hash.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)


class Front:
    """``GET /``: a page for browsers, JSON for everything else."""

    def __init__(self, doors: Sequence[Door], settings: HttpSettings, url: str) -> None:
        """Write the page of ``doors``, which are reached at ``url``."""
        self._doors, self._version = doors, settings.version
        self._cards = [
            {"name": d.name, "title": d.title, "prefix": d.prefix, "docs": d.docs}
            for d in doors
            if d.listed
        ]
        self._page = _page([d for d in doors if d.listed], self._version, url)

    async def show(self, request: Request) -> Response:
        """List the doors."""
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(self._page, headers={"Content-Security-Policy": POLICY})
        deps = request.app.state.hall.deps
        found: dict[str, Any] = {
            "name": "Trainshed", "version": self._version, "doors": self._cards,
        }  # fmt: skip
        for add in [d.front for d in self._doors if d.front is not None]:
            found.update(await run_in_threadpool(add, deps))
        return JSONResponse(found)


def _page(doors: Sequence[Door], version: str, url: str) -> str:
    rows = "".join(_row(door) for door in doors)
    shell = html.escape(
        f"trainshed login {url}\ntrainshed run -- python train.py\ntrainshed jobs list"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>Trainshed</title><link rel="icon" href="data:,"><style>{STYLE}</style></head>'
        f"<body><h1>Trainshed <small>{html.escape(version)}</small></h1>"
        "<p>This server queues, runs, watches and keeps machine learning jobs.</p>"
        f"<h2>From a shell</h2><p>In a folder with a script:</p><pre>{shell}</pre>"
        "<p>The first admin's name and password are in <code>credentials.json</code> in the"
        " server's data directory.</p>"
        f"<h2>APIs</h2><p>One account and one key for all of them:"
        f" <code>Authorization: Bearer KEY</code> or <code>X-API-Key: KEY</code>.</p>"
        f"<ul>{rows}</ul></body></html>"
    )


def _row(door: Door) -> str:
    links: Mapping[str, str] = {**door.pages, **({"OpenAPI": door.docs} if door.docs else {})}
    shown = " · ".join(
        f'<a href="{html.escape(path)}">{html.escape(name)}</a>' for name, path in links.items()
    )
    places = ", ".join(
        f"<code>{html.escape(path)}</code>"
        for path in (door.prefix, *(a.path for a in door.aliases if a.path not in links.values()))
    )
    return f"<li><b>{html.escape(door.title or door.name)}</b><span>{places}</span><br>{shown}</li>"
