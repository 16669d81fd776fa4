"""Real container images in an engine storage of the tests' own: built from this machine's files."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

SHELL, PYTHON = "localhost/trainshed-test/shell:1", "localhost/trainshed-test/python:1"
APPLETS = (
    "cat", "chown", "cp", "dd", "echo", "env", "false", "head", "id", "kill", "ls", "mkdir",
    "mount", "ps", "rm", "seq", "sh", "sleep", "stat", "tail", "test", "touch", "true", "wc",
    "wget", "yes",
)  # fmt: skip
#: What binary wheels take for granted.
STANDARD = ("libgcc_s.so.1", "libstdc++.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0",
            "libresolv.so.2", "librt.so.1", "libutil.so.1", "libz.so.1")  # fmt: skip
LEFT_OUT = {"test", "tests", "site-packages", "idlelib", "tkinter", "turtledemo",
            "lib2to3", "ensurepip", "pydoc_data", "distutils"}  # fmt: skip


def missing() -> str:
    """Return why no container can run here, or ""."""
    for name in ("podman", "busybox"):
        if shutil.which(name) is None:
            return f"no {name}: apt-get install podman runc busybox-static catatonit"
    return ""


class Engine:
    """podman on a storage that goes when the tests end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storage = folder / "storage.conf"
        for driver in ("overlay", "vfs"):
            text = f'[storage]\ndriver = "{driver}"\n'
            text += f'graphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
            self.storage.write_text(text)
            self.environ = {**os.environ, "CONTAINERS_STORAGE_CONF": str(self.storage)}
            if self.run("info", check=False).returncode == 0:
                return
        raise AssertionError(self.run("info", check=False).stderr)

    def run(
        self, *words: str, check: bool = True, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Call podman as the runner does."""
        done = subprocess.run(
            self.command(*words), env=self.environ, capture_output=True, text=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, (words, done.stderr)
        return done

    def command(self, *words: str) -> list[str]:
        """Return the arguments of a call."""
        hybrid = os.path.isdir("/sys/fs/cgroup/unified") and shutil.which("runc")
        options = ["--cgroup-manager=cgroupfs"] if os.getuid() == 0 else []
        options += ["--runtime=runc"] if hybrid else []
        return ["podman", *options, *words]

    def build(
        self, reference: str, python: bool = False, marker: str = "", venv: bool = False
    ) -> None:
        """Make an image: busybox, and with ``python`` this machine's interpreter, with ``venv``
        also what makes environments of wheels. ``marker`` goes into /marker.
        """
        with tempfile.NamedTemporaryFile(suffix=".tar", dir=self.folder) as file:
            with tarfile.open(file.name, "w") as tar:
                _shell(tar)
                _text(tar, "marker", marker)
                if python:
                    _python(tar, venv)
            self.run("import", "--quiet", file.name, reference)

    def containers(self, marker: str = "") -> list[str]:
        """Return the names of all containers, running or not."""
        names = self.run("ps", "--all", "--format={{.Names}}").stdout.split()
        return [name for name in names if marker in name]

    def digest(self, reference: str) -> str:
        """Return the digest of an image."""
        return self.run("image", "inspect", "--format={{.Digest}}", reference).stdout.strip()

    def close(self) -> None:
        """Remove everything."""
        self.run("rm", "--all", "--force", "--time=0", check=False)
        self.run("umount", "--all", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def engine() -> Iterator[Engine]:
    """Yield an engine that knows ``SHELL`` and ``PYTHON``."""
    folder = Path(tempfile.mkdtemp(prefix="trainshed-engine-"))
    one = Engine(folder)
    try:
        one.build(SHELL)
        one.build(PYTHON, python=True)
        yield one
    finally:
        one.close()


def _shell(tar: tarfile.TarFile) -> None:
    found = shutil.which("busybox")
    assert found is not None
    for folder in ("bin", "lib", "usr", "usr/local", "usr/local/bin", "tmp", "etc"):
        info = tarfile.TarInfo(folder)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
    tar.add(found, "bin/busybox", filter=_plain)
    for name in APPLETS:
        info = tarfile.TarInfo(f"bin/{name}")
        info.type, info.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(info)


def _python(tar: tarfile.TarFile, venv: bool) -> None:
    """Add the interpreter below /usr/local, its standard library, and the libraries it needs, with
    ``venv`` those that wheels may expect of any machine.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    tar.add(program, f"usr/local/bin/{version}", filter=_plain)
    for name in ("python", "python3"):
        info = tarfile.TarInfo(f"usr/local/bin/{name}")
        info.type, info.linkname = tarfile.SYMTYPE, version
        tar.addfile(info)
    tar.add(library, f"usr/local/lib/{version}", filter=_slim)
    found = _needed([program, *(library / "lib-dynload").glob("*.so")])
    if venv:
        tar.add(library / "ensurepip", f"usr/local/lib/{version}/ensurepip", filter=_plain)
        found |= _standard()
    for path in sorted(found):
        standard = path.parts[1] in ("lib", "lib64", "usr")
        home = str(path.parent).lstrip("/") if standard else "lib"
        tar.add(path.resolve(), f"{home}/{path.name}", filter=_plain)


def _needed(programs: Iterable[Path]) -> set[Path]:
    done = subprocess.run(
        ["ldd", *map(str, programs)], capture_output=True, text=True, timeout=60, check=False
    )
    return {Path(one) for one in re.findall(r"(?:=> |\t)(/\S+) \(0x", done.stdout)}


def _standard() -> set[Path]:
    done = subprocess.run(
        ["/sbin/ldconfig", "-p"], capture_output=True, text=True, timeout=60, check=True
    )
    arch = os.uname().machine.replace("_", "-")
    names = "|".join(re.escape(name) for name in STANDARD)
    lines = re.findall(rf"\t(?:{names}) \(.*{arch}.*\) => (\S+)", done.stdout)
    return {Path(one) for one in lines}


def _slim(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = info.name.split("/")
    if LEFT_OUT & set(parts) or any(part.startswith("config-") for part in parts):
        return None
    if info.name.endswith((".opt-1.pyc", ".opt-2.pyc")):
        return None
    return _plain(info)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
    return info


def _text(tar: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(text), 0o644
    tar.addfile(info, io.BytesIO(text.encode()))
