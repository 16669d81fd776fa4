"""Which interpreter and packages a Job gets, and what of a requirements file a server builds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from trainshed.domain.errors import InvalidInput

MAX_BYTES = 64 * 1024
MAX_LINES = 1000
MAX_LINE = 8192
SHOWN = 80

#: framework -> (the module a script imports, the package that brings it).
FRAMEWORKS = {
    "pytorch": ("torch", "torch"),
    "tensorflow": ("tensorflow", "tensorflow"),
    "jax": ("jax", "jax"),
    "flax": ("flax", "flax"),
    "keras": ("keras", "keras"),
    "scikit-learn": ("sklearn", "scikit-learn"),
    "transformers": ("transformers", "transformers"),
}

_CLAUSE = r"(?:~=|===?|!=|[<>]=?) ?[A-Za-z0-9_.*+!-]+"
_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r" ?(?:\[[A-Za-z0-9._, -]*\])?"
    rf" ?(?:\(?{_CLAUSE}(?: ?, ?{_CLAUSE})*\)?)?"
    r" ?(?:;[A-Za-z0-9_ .,'\"<>=!~()*+-]+)?"
)
_HASH = re.compile(r" --hash[= ](?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})")
_LOGIN = re.compile(r"://[^/@\s]*@")
_COMMENT = re.compile(r"(?:^|\s)#.*")
#: pip takes a file of such a name before it asks an index.
_ARCHIVES = (".whl", ".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tbz", ".tar.xz", ".txz")


@dataclass(frozen=True, slots=True)
class Environment:
    """The interpreter and its packages.

    ``kind``: ``default`` (the server's own), ``requirements`` (``value``: the normalised text) or
    ``image``. ``requirements_file`` (``value``: an upload's id or path) becomes ``requirements``
    at submit. ``framework``: what the script is written for; see ``FRAMEWORKS``.
    """

    kind: str = "default"
    value: str = ""
    framework: str = ""


def normalise(text: str) -> str:
    """Return the text by which two Jobs share an environment: one sorted requirement a line.

    Only names with extras, versions, markers and ``--hash`` are taken: whoever may name an option,
    a path or an address reads files and reaches hosts with the rights of the build.

    Raises:
        InvalidInput: naming the line; also when there is no requirement, or too much text.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise _wrong(f"A requirements file may have {MAX_BYTES // 1024} KiB.")
    found = {_requirement(number, line) for number, line in _lines(text)}
    if not found:
        raise _wrong("The requirements name no package.")
    if len(found) > MAX_LINES:
        raise _wrong(f"A requirements file may name {MAX_LINES} packages.")
    return "\n".join(sorted(found)) + "\n"


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number of the first line, line) without comments, continued lines joined."""
    whole, first = "", 0
    for number, raw in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        first = first or number
        if raw.endswith("\\"):
            whole += raw[:-1] + " "
            continue
        line = _COMMENT.sub("", whole + raw).strip()
        if line:
            yield first, line
        whole, first = "", 0
    if whole.strip():
        yield first, whole.strip()


def _requirement(number: int, line: str) -> str:
    if len(line) > MAX_LINE:
        raise _refused(number, line, "it is too long")
    line = " ".join(line.split())
    plain = _HASH.sub("", line)
    if plain.startswith("-") or " --" in plain:
        raise _refused(number, line, "options are not taken, except --hash")
    if "://" in plain or "@" in plain:
        raise _refused(number, line, "addresses are not taken, packages come from the index")
    if "/" in plain or "\\" in plain or plain.startswith("."):
        raise _refused(number, line, "paths are not taken, packages come from the index")
    match = _REQUIREMENT.fullmatch(plain)
    if match is None:
        raise _refused(number, line, "it is no requirement, such as 'numpy>=1.26'")
    if match["name"].lower().endswith(_ARCHIVES):
        raise _refused(number, line, "files are not taken, packages come from the index")
    return line


def _refused(number: int, line: str, why: str) -> InvalidInput:
    shown = _LOGIN.sub("://***@", line)
    shown = shown if len(shown) <= SHOWN else shown[:SHOWN] + "…"
    return _wrong(f"Line {number} of the requirements, {shown!r}, cannot be used: {why}.")


def _wrong(text: str) -> InvalidInput:
    return InvalidInput(text, field="environment.value")
