"""Logins to container registries, one for each account and registry; passwords sealed at rest."""

from __future__ import annotations

from trainshed.domain.errors import InvalidInput, NotFound
from trainshed.domain.image import Login, check_registry, parse_image
from trainshed.domain.job import Job
from trainshed.domain.people import Principal, Right
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.usecases import audit

MAX_LOGINS = 100
MAX_USERNAME, MAX_PASSWORD = 255, 8192


def put(deps: Deps, principal: Principal, registry: str, username: str, password: str) -> Login:
    """Store the login, in place of one that is there.

    Raises:
        InvalidInput: no registry, an empty or too long value, or too many logins.
    """
    principal.need(Right.ADMIN)
    plain = all(c.isprintable() and c != ":" for c in username)
    if not 1 <= len(username) <= MAX_USERNAME or not plain:
        raise InvalidInput("username must be 1 to 255 characters without ':'.", field="username")
    if not 1 <= len(password) <= MAX_PASSWORD or any(c in password for c in "\0\r\n"):
        raise InvalidInput("password must be 1 to 8192 characters, one line.", field="password")
    now = deps.clock.utc_now()
    sealed = deps.secrets.seal(password.encode("utf-8", "surrogatepass"))
    made = Login(principal.account_id, check_registry(registry), username, sealed, now)

    def apply(tx: Tx) -> None:
        known = [one.registry for one in tx.logins.of_account(made.account_id)]
        if made.registry not in known and len(known) >= MAX_LOGINS:
            raise InvalidInput(f"An account keeps at most {MAX_LOGINS} logins.", field="registry")
        tx.logins.put(made)
        audit.line(tx, principal, made.account_id, "registry.put", made.registry, now)

    deps.store.write(apply)
    return made


def listed(deps: Deps, principal: Principal) -> list[Login]:
    """Return the account's logins, by registry."""
    return deps.store.read(lambda tx: tx.logins.of_account(principal.account_id))


def delete(deps: Deps, principal: Principal, registry: str) -> None:
    """Forget a login.

    Raises:
        NotFound: there is none.
    """
    principal.need(Right.ADMIN)
    name, now = check_registry(registry), deps.clock.utc_now()

    def apply(tx: Tx) -> None:
        if not tx.logins.delete(principal.account_id, name):
            raise NotFound("There is no login for that registry.")
        audit.line(tx, principal, principal.account_id, "registry.delete", name, now)

    deps.store.write(apply)


def login_of(tx: Tx, job: Job) -> Login | None:
    """Return the login of the Job's account for its image's registry, if there are both."""
    if job.spec.environment.kind != "image":
        return None
    registry = parse_image(job.spec.environment.value).registry
    return tx.logins.find(job.account_id, registry)


def opened(deps: Deps, login: Login) -> dict[str, str]:
    """Return the login as a runner gets it: decrypted here, and nowhere else."""
    password = deps.secrets.unseal(login.sealed).decode("utf-8", "surrogatepass")
    return {"registry": login.registry, "username": login.username, "password": password}
