"""A container registry on loopback: serves one engine's images, to whom it is told."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.images import Engine


class Registry(ThreadingHTTPServer):
    """``login``: "user:password", or None for anyone. ``gate``: cleared, it holds blobs back."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.name = f"127.0.0.1:{self.server_address[1]}"
        self.login: str | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[str] = []
        self.manifests: dict[str, bytes] = {}

    def publish(self, engine: Engine, local: str, repository: str, tag: str) -> str:
        """Serve an image that ``engine`` has; return its digest."""
        folder = self.folder / hashlib.sha256(f"{local}{tag}".encode()).hexdigest()[:8]
        engine.run("push", "--quiet", local, f"dir:{folder}")
        manifest = (folder / "manifest.json").read_bytes()
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        for ref in (tag, digest):
            self.manifests[f"{repository}/manifests/{ref}"] = manifest
        for blob in folder.iterdir():
            if len(blob.name) == 64:
                blob.rename(self.folder / blob.name)
        return digest


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.removeprefix("/v2/")
        self.server.asked.append(path)
        wanted = self.server.login
        if wanted is not None:
            given = self.headers.get("Authorization", "")
            if given != "Basic " + base64.b64encode(wanted.encode()).decode():
                self._send(401, b"{}", {"WWW-Authenticate": 'Basic realm="test"'}, body)
                return
        if path in ("", "/v2"):
            self._send(200, b"{}", {}, body)
        elif path in self.server.manifests:
            data = self.server.manifests[path]
            kind = json.loads(data).get("mediaType", "application/vnd.oci.image.manifest.v1+json")
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            self._send(200, data, {"Content-Type": kind, "Docker-Content-Digest": digest}, body)
        elif "/blobs/sha256:" in path and (self._blob(path)).exists():
            self.server.gate.wait(30)
            self._send(200, self._blob(path).read_bytes(), {}, body)
        else:
            error = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
            self._send(404, json.dumps(error).encode(), {}, body)

    def _blob(self, path: str) -> Path:
        return self.server.folder / path.rpartition(":")[2]

    def _send(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[Registry]:
    """Serve until the end; ``folder / registries.conf`` lets an engine speak plain HTTP to it."""
    folder.mkdir(exist_ok=True)
    one = Registry(folder)
    text = f'[[registry]]\nlocation = "{one.name}"\ninsecure = true\n'
    (folder / "registries.conf").write_text(text)
    thread = threading.Thread(target=one.serve_forever, daemon=True)
    thread.start()
    try:
        yield one
    finally:
        one.gate.set()
        one.shutdown()
        one.server_close()
        thread.join(10)
