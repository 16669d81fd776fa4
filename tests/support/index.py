"""A package index over loopback HTTP, with wheels that the test makes itself."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Index:
    """``url`` is for PIP_INDEX_URL; ``asked`` counts requests; ``hold`` delays each answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.hold: Callable[[str], object] = lambda path: None
        self.url = ""

    def wheel(self, name: str, code: str, version: str = "1.0") -> None:
        """Add a pure wheel with one module of the same name."""
        home = self.folder / "simple" / name.replace("_", "-")
        home.mkdir(parents=True, exist_ok=True)
        info = f"{name}-{version}.dist-info"
        files = {
            f"{name}.py": code,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
            "Tag: py3-none-any\n",
        }
        record = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in files.items())
        files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
        file = f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(home / file, "w") as archive:
            for path, text in files.items():
                archive.writestr(path, text)
        (home / "index.html").write_text(f'<!DOCTYPE html><a href="{file}">{file}</a>\n')

    def source(self, name: str, backend: str, version: str = "1.0") -> None:
        """Add a source package that brings its own build backend."""
        home = self.folder / "simple" / name
        home.mkdir(parents=True, exist_ok=True)
        build = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        file = f"{name}-{version}.tar.gz"
        with tarfile.open(home / file, "w:gz") as archive:
            for path, text in (("pyproject.toml", build), ("own.py", backend), ("PKG-INFO", about)):
                info = tarfile.TarInfo(f"{name}-{version}/{path}")
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
        (home / "index.html").write_text(f'<!DOCTYPE html><a href="{file}">{file}</a>\n')


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Index]:
    """Yield an Index whose URL has credentials in it, as a private one's does."""
    index = Index(folder)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def do_GET(self) -> None:
            index.asked.append(self.path)
            index.hold(self.path)
            super().do_GET()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    index.url = f"http://robot:canary-password@127.0.0.1:{server.server_port}/simple/"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()


def _digest(text: str) -> str:
    raw = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(raw).decode().rstrip("=")
