"""What a Job's environment means on this server: refused, or settled once, at submit."""

from __future__ import annotations

from dataclasses import replace

from trainshed.domain.environment import FRAMEWORKS, MAX_BYTES, Environment, normalise
from trainshed.domain.errors import InvalidInput
from trainshed.domain.image import LOCAL, parse_image
from trainshed.domain.people import Principal
from trainshed.ports.deps import Deps
from trainshed.ports.store import Upload
from trainshed.usecases import uploads


def settle(deps: Deps, principal: Principal, asked: Environment) -> Environment:
    """Return the environment as it is kept: a requirements file by its normalised text.

    Raises:
        InvalidInput: a kind, framework or line that cannot be had, saying which.
        NotFound: there is no such requirements file.
    """
    _check_framework(deps, asked.framework)
    if asked.kind == "default":
        if asked.value:
            raise InvalidInput(
                "environment.value means nothing for the kind 'default'; leave it empty.",
                field="environment.value",
            )
        return asked
    if asked.kind == "requirements":
        return replace(asked, value=normalise(asked.value))
    if asked.kind == "requirements_file":
        text = _file_text(deps, principal, asked.value)
        return replace(asked, kind="requirements", value=normalise(text))
    if asked.kind == "image":
        _check_image(deps, asked.value)
        return asked
    raise InvalidInput(
        f"environment.kind {asked.kind!r} is not available on this server; use 'default' (the"
        " server's own interpreter and packages), 'requirements', 'requirements_file' or 'image'.",
        field="environment.kind",
    )


def _check_framework(deps: Deps, name: str) -> None:
    known = {**FRAMEWORKS, **deps.policy.environments.interpreters}
    if name and name not in known:
        raise InvalidInput(
            f"There is no framework {name!r}; there is: {', '.join(sorted(known))}.",
            field="environment.framework",
        )


def _check_image(deps: Deps, name: str) -> None:
    registry = parse_image(name).registry
    allowed = deps.policy.image_registries
    if name in deps.policy.images:
        return  # nothing is pulled: a local interpreter stands for it
    if allowed and registry not in allowed and registry != LOCAL:
        raise InvalidInput(
            f"Images of {registry} may not be used on this server; allowed are:"
            f" {', '.join(allowed)}.",
            field="environment.value",
        )


def _file_text(deps: Deps, principal: Principal, name: str) -> str:
    upload = _upload(deps, principal, name)
    if upload.blob is None or upload.blob.size_bytes > MAX_BYTES:
        raise InvalidInput(
            f"The upload {upload.path!r} has no content yet, or more than {MAX_BYTES // 1024} KiB.",
            field="environment.value",
        )
    try:
        return deps.blobs.read(principal.account_id, upload.blob.md5).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"The upload {upload.path!r} is no UTF-8 text.", field="environment.value"
        ) from error


def _upload(deps: Deps, principal: Principal, name: str) -> Upload:
    if name.startswith("upl_") and "/" not in name:
        return uploads.get(deps, principal, name)
    return uploads.resolve(deps, principal, name)
