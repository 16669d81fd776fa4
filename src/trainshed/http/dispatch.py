"""Which door a literal address belongs to: one table, made of the doors' aliases.

The documents of several dialects print the same addresses; what a request carries says whose it
is. A request to an alias goes on as if it had been sent below the door's own prefix, so that each
dialect is served twice by the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.types import Scope

from trainshed.domain.errors import NotFound
from trainshed.http.guards import Alias, Door


class Dispatch:
    """The longest path first; at one path whoever claims the request, in the order of the doors,
    before whoever takes the rest.
    """

    def __init__(self, doors: Sequence[Door]) -> None:
        """Make the table.

        Raises:
            ValueError: two doors take the rest of one path, or an alias hides a door.
        """
        rows = [(alias, door.prefix) for door in doors for alias in door.aliases]
        self._rows = sorted(rows, key=lambda r: (-len(r[0].path), r[0].claims is None))
        self._prefixes = sorted(d.prefix for d in doors if d.listed)
        rest = [a.path for a, _ in rows if a.claims is None]
        hidden = {d.prefix for d in doors if any(_below(d.prefix, a.path) for a, _ in rows)}
        if len(rest) > len(set(rest)) or hidden:
            raise ValueError(f"aliases collide: {sorted(rest)}, or hide {sorted(hidden)}")

    def rewrite(self, scope: Scope, headers: Headers) -> None:
        """Let the request go on to the door whose it is.

        Raises:
            NotFound: it came to a literal address, but no door there claims it.
        """
        asked: str = scope["path"]
        found = [row for row in self._rows if _below(asked, row[0].path)]
        for alias, prefix in found:
            if alias.claims is None or alias.claims(headers):
                path = prefix + alias.to + asked[len(alias.path) :]
                scope["path"], scope["raw_path"] = path, quote(path).encode()
                return
        if found:
            raise _unclaimed(found[0][0], self._prefixes)


def _below(path: str, base: str) -> bool:
    return path == base or (bool(path) and path.startswith(base + "/"))


def _unclaimed(alias: Alias, prefixes: Sequence[str]) -> NotFound:
    listed = ", ".join(prefixes)
    return NotFound(
        f"Nothing in this request says which API it wants of {alias.path}. Send its own kind of"
        f" key, or use the address that is one API's alone: {listed}.",
        prefixes=list(prefixes),
    )
