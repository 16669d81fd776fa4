"""People, keys, credits, audit."""

from __future__ import annotations

from trainshed.dialects.native import answers, answers_people, people, schema
from trainshed.dialects.native.parameters import (
    AccountRef,
    Cursor,
    KeyRef,
    Limit,
    UserRef,
    before,
    following_seq,
)
from trainshed.domain.ids import parse_id
from trainshed.domain.ledger import Unit
from trainshed.domain.people import Principal, Right
from trainshed.http.guards import ADMIN, OPERATOR, PUBLIC, READ, WRITE, Route
from trainshed.http.hall import Called
from trainshed.ports.views import LoginView
from trainshed.usecases import accounts, audit, keys, queries
from trainshed.usecases import login as people_in


async def health(call: Called) -> answers.Health:
    """Say that the server answers."""
    now = call.deps.clock.utc_now()
    return answers.Health(status="ok", version=call.hall.settings.version, time=now)


def login(call: Called, body: schema.LoginBody) -> answers_people.Login:
    """Open a session."""
    hall, address = call.hall, call.origin.address
    view = people_in.login(call.deps, hall.throttle, body.username, body.password, address)
    return _session(call, view)


def register(call: Called, body: schema.LoginBody) -> answers_people.Login:
    """Make an account and log in, where sign-up is open."""
    hall, address = call.hall, call.origin.address
    wanted = people_in.Newcomer(body.username, body.password)
    view = people_in.register(call.deps, hall.throttle, wanted, address)
    return _session(call, view)


def _session(call: Called, view: LoginView) -> answers_people.Login:
    who = Principal(view.account.id, view.user.id, Right.READ)
    return people.to_login(view, accounts.get_account(call.deps, who, view.account.id))


def logout(call: Called) -> None:
    """End this session."""
    people_in.logout(call.deps, call.principal)


def me(call: Called) -> answers_people.Me:
    """Say who is calling."""
    who = call.principal
    user, account = people_in.whoami(call.deps, who)
    return answers_people.Me(
        user=people.to_user(user),
        account=people.to_account(account),
        right=who.right.name.lower(),
        operator=who.operator,
        key_id=who.key_id,
    )


def change_password(call: Called, body: schema.PasswordChangeBody) -> None:
    """Change the own password; all sessions end."""
    throttle, who, address = call.hall.throttle, call.principal, call.origin.address
    name = f"change:{who.user_id}"
    throttle.check(name, address)
    throttle.failed(name, address)
    accounts.change_password(call.deps, who, body.old_password, body.new_password)
    throttle.succeeded(name, address)


def list_accounts(call: Called) -> answers.Items[answers_people.Account]:
    """List every account."""
    found = accounts.list_accounts(call.deps, call.principal)
    return answers.Items(items=[people.to_account(a) for a in found])


def create_account(call: Called, body: schema.AccountBody) -> answers_people.Account:
    """Make a tenant."""
    made = accounts.create_account(
        call.deps, call.principal, body.name, body.quota_bytes, body.weight
    )
    return people.to_account(made)


def get_account(call: Called, account_id: AccountRef) -> answers_people.Account:
    """Show an account."""
    return people.to_account(accounts.get_account(call.deps, call.principal, account_id))


def update_account(
    call: Called, account_id: AccountRef, body: schema.AccountPatch
) -> answers_people.Account:
    """Change an account."""
    changed = accounts.update_account(
        call.deps, call.principal, account_id, body.name, body.disabled, body.quota_bytes,
        body.weight, body.plan,
    )  # fmt: skip
    return people.to_account(changed)


def grant_credits(
    call: Called, account_id: AccountRef, body: schema.GrantBody
) -> answers_people.Balance:
    """Give credits."""
    balance = accounts.grant(
        call.deps, call.principal, account_id, body.amount_ucredits, Unit(body.unit), body.memo
    )
    return people.to_balance(balance)


def list_users(call: Called) -> answers.Items[answers_people.User]:
    """List the account's people."""
    found = accounts.list_users(call.deps, call.principal)
    return answers.Items(items=[people.to_user(u) for u in found])


def create_user(call: Called, body: schema.UserBody) -> answers_people.NewUser:
    """Add a person; ``notes`` say what that changes for jobs."""
    home = None if body.account_id is None else parse_id("account", body.account_id)
    made = accounts.create_user(
        call.deps, call.principal, body.username, body.password, body.role, home
    )
    return people.to_new_user(made, queries.company_notes(call.deps))


def update_user(call: Called, user_id: UserRef, body: schema.UserPatch) -> answers_people.User:
    """Change a person."""
    changed = accounts.update_user(
        call.deps, call.principal, user_id, body.role, body.disabled, body.operator
    )
    return people.to_user(changed)


def reset_password(call: Called, user_id: UserRef, body: schema.PasswordBody) -> None:
    """Set another's password; all their sessions end."""
    accounts.reset_password(call.deps, call.principal, user_id, body.password)


def list_keys(call: Called) -> answers.Items[answers_people.Key]:
    """List the own keys; an admin sees the account's."""
    found = keys.list_keys(call.deps, call.principal)
    return answers.Items(items=[people.to_key(k) for k in found])


def create_key(call: Called, body: schema.KeyBody) -> answers_people.NewKey:
    """Make a key; its secret is shown this once."""
    wanted = keys.NewKey(
        body.name, tuple(dict.fromkeys(body.scopes)), body.expires_in_days,
        body.spend_limit_ucredits, body.prefix,
    )  # fmt: skip
    return people.to_new_key(keys.create(call.deps, call.principal, wanted))


def revoke_key(call: Called, key_id: KeyRef) -> None:
    """End a key for good."""
    keys.revoke(call.deps, call.principal, key_id)


def rotate_key(call: Called, key_id: KeyRef) -> answers_people.NewKey:
    """Give a key a new secret; the old one dies."""
    return people.to_new_key(keys.rotate(call.deps, call.principal, key_id))


def get_credits(call: Called) -> answers_people.Balances:
    """Show what the account has."""
    found = accounts.balances(call.deps, call.principal)
    return answers_people.Balances(balances=[people.to_balance(b) for b in found])


def list_entries(
    call: Called, limit: Limit = 50, cursor: Cursor = None
) -> answers.Page[answers_people.Entry]:
    """List the ledger, newest first."""
    first = before(call, "entries", cursor)
    rows = accounts.entries(call.deps, call.principal, first, limit)
    more = following_seq(call, "entries", [seq for seq, _, _ in rows], limit)
    return answers.Page(items=[people.to_entry(r) for r in rows], next=more)


def list_holds(call: Called) -> answers.Items[answers_people.Hold]:
    """List the open holds."""
    found = accounts.holds(call.deps, call.principal)
    return answers.Items(items=[people.to_hold(h) for h in found])


def list_audit(
    call: Called, limit: Limit = 50, cursor: Cursor = None
) -> answers.Page[answers_people.AuditLine]:
    """List who did what, newest first."""
    first = before(call, "audit", cursor)
    rows = audit.page(call.deps, call.principal, first, limit)
    more = following_seq(call, "audit", [r.seq for r in rows], limit)
    return answers.Page(items=[people.to_line(r) for r in rows], next=more)


SMALL = schema.SMALL_BYTES
ROUTES = [
    Route("GET", "/health", health, PUBLIC, vital=True),
    Route("POST", "/login", login, PUBLIC, body_limit=SMALL),
    Route("POST", "/register", register, PUBLIC, 201, body_limit=SMALL),
    Route("POST", "/logout", logout, READ, 204, body_limit=SMALL),
    Route("GET", "/me", me, READ),
    Route("POST", "/me/password", change_password, READ, 204, body_limit=SMALL),
    Route("GET", "/accounts", list_accounts, OPERATOR),
    Route("POST", "/accounts", create_account, OPERATOR, 201, body_limit=SMALL, idempotent=True),
    Route("GET", "/accounts/{account_id}", get_account, OPERATOR),
    Route("PATCH", "/accounts/{account_id}", update_account, OPERATOR, body_limit=SMALL),
    Route(
        "POST", "/accounts/{account_id}/grants", grant_credits, OPERATOR, 201,
        body_limit=SMALL, idempotent=True,
    ),
    Route("GET", "/users", list_users, ADMIN),
    Route("POST", "/users", create_user, ADMIN, 201, body_limit=SMALL, idempotent=True),
    Route("PATCH", "/users/{user_id}", update_user, ADMIN, body_limit=SMALL),
    Route("POST", "/users/{user_id}/password", reset_password, ADMIN, 204, body_limit=SMALL),
    Route("GET", "/keys", list_keys, READ),
    Route("POST", "/keys", create_key, WRITE, 201, body_limit=SMALL, idempotent=True),
    Route("DELETE", "/keys/{key_id}", revoke_key, WRITE, 204),
    Route("POST", "/keys/{key_id}/rotate", rotate_key, WRITE, body_limit=SMALL),
    Route("GET", "/credits", get_credits, READ),
    Route("GET", "/credits/entries", list_entries, READ),
    Route("GET", "/credits/holds", list_holds, READ),
    Route("GET", "/audit", list_audit, ADMIN),
]  # fmt: skip
