"""Everything in the lock may be used and passed on: permissive licences, and a few named ones that
ask for no more than their own files' source.
"""

from __future__ import annotations

import re
from importlib.metadata import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PERMISSIVE = {
    "0BSD", "APACHE-2.0", "BSD-2-CLAUSE", "BSD-3-CLAUSE", "CC0-1.0", "ISC", "MIT", "MIT-0",
    "PSF-2.0", "UNLICENSE", "ZLIB",
}  # fmt: skip
#: What older packages say instead, in their licence field or classifier.
LOOSE = {
    "3-clause bsd license": "BSD-3-CLAUSE", "public domain": "UNLICENSE",
    "gnu general public license v2 (gplv2)": "GPL-2.0", "apache 2.0": "APACHE-2.0",
    "apache software license": "APACHE-2.0", "bsd": "BSD-3-CLAUSE",
    "bsd 2-clause license": "BSD-2-CLAUSE", "bsd license": "BSD-3-CLAUSE",
    "mit license": "MIT", "isc license (iscl)": "ISC",
    "python software foundation license": "PSF-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
}  # fmt: skip
#: An expression such as ``MPL-2.0 AND MIT``, not a whole text.
SPDX = r"[\w.-]+(?: (?:AND|OR) [\w.-]+)+"
#: Used as they are, never changed or copied into ours; each would be replaceable.
NAMED = {
    "hypothesis": "MPL-2.0", "orjson": "MPL-2.0", "pathspec": "MPL-2.0", "tqdm": "MPL-2.0",
    "certifi": "MPL-2.0", "psycopg": "LGPL-3.0-ONLY", "psycopg-binary": "LGPL-3.0-ONLY",
    "psycopg-pool": "LGPL-3.0-ONLY",
    # An extra of the agent at a board's side alone, which the server meets over HTTP.
    "ppk2-api": "GPL-2.0",
}  # fmt: skip
#: Says nothing in its metadata; its repository does.
UNSAID = {"tflite-micro": "APACHE-2.0"}
#: For Windows, macOS, WebAssembly, and machines without a time zone database.
ELSEWHERE = {"colorama", "hidapi", "httpx2-jsfetch", "tzdata"}


def locked() -> list[str]:
    """Names in the lock, but for what only other systems install."""
    text = (ROOT / "requirements.lock").read_text()
    names = re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)
    return sorted({*names} - ELSEWHERE)


def licences(name: str) -> set[str]:
    """Return what a package asks for; an ``OR`` counts as its most permissive side."""
    if name in UNSAID:
        return {UNSAID[name]}
    about = metadata(name)
    field = about.get("License") or ""
    said = about.get("License-Expression") or (field if re.fullmatch(SPDX, field) else "")
    if said:
        return {word for part in said.upper().split(" AND ") for word in _choice(part)}
    found = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or () if "License" in c]
    found = [c for c in found if c != "DFSG approved"] or [field]
    loose = [LOOSE.get(one.strip().lower(), one.strip().upper()) for one in found]
    # Several classifiers of one package mean a choice, as far as one can tell.
    return set(_choice(" OR ".join(loose)))


def _choice(text: str) -> list[str]:
    words = [w.strip(" ()") for w in text.split(" OR ")]
    return [w for w in words if w in PERMISSIVE][:1] or words


def test_the_lock_is_read() -> None:
    assert {"fastapi", "psycopg", "ruff"} <= {name.lower() for name in locked()}


@pytest.mark.parametrize("name", locked())
def test_may_be_used(name: str) -> None:
    asked = licences(name)
    allowed = PERMISSIVE | ({NAMED[name.lower()]} if name.lower() in NAMED else set())
    assert asked, f"{name} does not say its licence"
    assert asked <= allowed, f"{name}: {', '.join(sorted(asked - allowed))}"
