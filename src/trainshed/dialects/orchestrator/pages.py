"""``/docs`` and ``/redoc``: Swagger UI and ReDoc from packaged files, without any other host.

Scripts come from this server only, none is in the page. ReDoc makes its styles and its search
worker at run time, so these two pages allow inline styles and that worker; no other page does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from trainshed.domain.errors import NotFound
from trainshed.http.guards import PUBLIC, Route

Endpoint = Callable[[Request], Awaitable[Response]]
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'none';"
    " frame-ancestors 'none'"
)
#: name -> media type, of the package that brings both bundles.
BUNDLES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
    "favicon.png": "image/png",
}
#: Our own starters: the pages' strict policy allows no script inside them.
STARTERS = {
    "docs.js": (
        "window.ui = SwaggerUIBundle({url: document.body.dataset.openapi,"
        ' dom_id: "#page", deepLinking: true, validatorUrl: null});\n'
    ),
    "redoc.js": (
        "Redoc.init(document.body.dataset.openapi, {hideDownloadButton: false},"
        ' document.getElementById("page"));\n'
    ),
}


def routes(prefix: str) -> list[Route]:
    """Return the routes of both pages and of their files."""
    docs = _page(prefix, "API", "swagger-ui-bundle.js", "docs.js", "swagger-ui.css")
    redoc = _page(prefix, "API reference", "redoc.standalone.js", "redoc.js")
    return [
        Route("GET", "/docs", _serving(docs), PUBLIC, raw=True, hidden=True),
        Route("GET", "/redoc", _serving(redoc), PUBLIC, raw=True, hidden=True),
        Route("GET", "/static/{name}", static, PUBLIC, raw=True, hidden=True),
    ]


async def static(request: Request) -> Response:
    """Serve one of the closed list of files."""
    name = request.path_params["name"]
    headers = {"Cache-Control": "public, max-age=3600"}
    if name in STARTERS:
        return Response(STARTERS[name], 200, headers, "text/javascript")
    if name not in BUNDLES:
        raise NotFound("There is no such file.")
    return Response(_bundle(name), 200, headers, BUNDLES[name])


@cache
def _bundle(name: str) -> bytes:
    return (files("fastapi_offline") / "static" / name).read_bytes()


def _serving(page: str) -> Endpoint:
    async def show(request: Request) -> Response:
        """Show the API in a browser."""
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    return show


def _page(prefix: str, title: str, bundle: str, starter: str, style: str = "") -> str:
    base = f"{prefix}/static"
    sheet = f'<link rel="stylesheet" href="{base}/{style}">' if style else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Training Job Orchestrator {title}</title>{sheet}"
        f'<link rel="icon" href="{base}/favicon.png"></head>'
        f'<body data-openapi="{prefix}/openapi.json"><div id="page"></div>'
        f'<script src="{base}/{bundle}"></script><script src="{base}/{starter}"></script>'
        "</body></html>"
    )
