"""Names of container images, as registries write them: ``registry/name:tag`` or ``…@sha256:…``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from trainshed.domain.errors import InvalidInput

DOCKER_HUB = "docker.io"
LOCAL = "localhost"
MAX_NAME, MAX_TEXT = 255, 512

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_REGISTRY = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?", re.ASCII)
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Image:
    """A whole name. ``digest`` is empty unless the name was given with one, then ``tag`` may be."""

    registry: str
    repository: str
    tag: str
    digest: str = ""

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return f"{self.registry}/{self.repository}"

    @property
    def reference(self) -> str:
        """What an engine is asked for; the digest decides where there is one."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    @property
    def local(self) -> bool:
        """Whether it can only be on the machine itself: no registry serves ``localhost/``."""
        return self.registry == LOCAL


@dataclass(frozen=True, slots=True)
class Login:
    """What an account says to a registry. ``sealed``: the password, encrypted at rest."""

    account_id: str
    registry: str
    username: str
    sealed: bytes
    updated_at: datetime


def parse_image(text: str, field: str = "environment.value") -> Image:
    """Return the image that ``text`` names; without a registry that is Docker Hub.

    Raises:
        InvalidInput: it is no image name. Nothing that a command line could take for an option,
            a path or a transport passes.
    """
    rest, at, digest = text.partition("@")
    if len(text) > MAX_TEXT or (at and not _DIGEST.fullmatch(digest)):
        raise _bad(text, field)
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _bad(text, field)
    path = f"{head}{slash}{last}"
    first, slash, rest = path.partition("/")
    if slash and ("." in first or ":" in first or first == LOCAL):
        registry = check_registry(first, field)
    else:
        registry, rest = DOCKER_HUB, path if slash else f"library/{path}"
    parts = rest.split("/")
    if len(rest) > MAX_NAME or not all(_PART.fullmatch(part) for part in parts):
        raise _bad(text, field)
    return Image(registry, rest, tag if tag or digest else "latest", digest)


def check_registry(text: str, field: str = "registry") -> str:
    """Return the address of a registry, ``HOST`` or ``HOST:PORT``, in lower case.

    Raises:
        InvalidInput: it is none.
    """
    if len(text) > MAX_NAME or not _REGISTRY.fullmatch(text):
        raise InvalidInput(
            f"{_shown(text)} is no registry; write HOST or HOST:PORT, for example ghcr.io.",
            field=field,
        )
    found = text.lower()
    return DOCKER_HUB if found in ("index.docker.io", "registry-1.docker.io") else found


def _bad(text: str, field: str) -> InvalidInput:
    return InvalidInput(
        f"{_shown(text)} is no image name; write registry/name:tag, for example"
        " docker.io/library/python:3.12-slim (lower case, no options).",
        field=field,
    )


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else f"{text[:77]}...")
