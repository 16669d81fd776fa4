"""First start: the account ``admin``, its keys, and ``credentials.json`` that only the owner can
read.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from trainshed.ports.deps import Deps
from trainshed.usecases import accounts, keys, local

FILE = "credentials.json"


def write_private(path: Path, data: dict[str, str]) -> None:
    """Write JSON that only the owner may read, at once or not at all."""
    temporary = path.with_suffix(".new")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "w") as out:
        json.dump(data, out, indent=1)
        out.write("\n")
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(path)


def first_start(deps: Deps, data: Path, url: str) -> bool:
    """Make the admin and its keys unless they exist; True if they were made now.

    The file is written before this returns, so a crash between leaves either no admin or a file
    that is missing: then the operator resets the password, nothing else is lost.
    """
    path = data / FILE
    password = deps.ids.token(18)
    first = accounts.bootstrap_admin(deps, password)
    local.first_grant(deps)
    if not first.made and path.exists():
        return False
    if not first.made:
        password = ""
    scopes = ("read", "write", "admin")
    secret = {
        name: keys.create(deps, first.principal, keys.NewKey(name, scopes, prefix=prefix)).secret
        for name, prefix in (("api_key", "ts_"), ("middleman_api_key", "mdlm_"))
    }
    mimaas = keys.create(deps, first.principal, keys.NewKey("mimaas_token", scopes, prefix=""))
    write_private(
        path,
        {
            "url": url,
            "username": accounts.ADMIN,
            "password": password,
            "api_key": secret["api_key"] or "",
            "middleman_api_key": secret["middleman_api_key"] or "",
            "mimaas_token": mimaas.secret or "",
        },
    )
    return True
