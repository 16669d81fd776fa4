"""People, keys and money in Middleman's words: whole credits that always add up (D9)."""

from __future__ import annotations

from trainshed.dialects.middleman import schema
from trainshed.dialects.middleman.translate import public_id
from trainshed.domain import ledger, people
from trainshed.domain.ledger import MICRO, Entry
from trainshed.domain.people import Principal, User
from trainshed.domain.pricing import Package

#: The kind of an Entry → the word of this door.
TYPES = {"grant": "credit", "capture": "usage", "refund": "refund"}
_WORDS = {"grant": "Credits granted", "capture": "Job {job}", "refund": "Refund for job {job}"}


def to_balance(one: ledger.Balance) -> schema.Balance:
    """Return money: what is available is never overstated, and the three always add up."""
    balance, available = one.balance // MICRO, one.available // MICRO
    return schema.Balance(balance=balance, reserved=balance - available, available=available)


def to_transaction(row: tuple[int, int, Entry]) -> schema.Transaction:
    """Return a line of the ledger: the whole credits by which the balance moved."""
    seq, after, one = row
    before = after - one.amount
    job = public_id(one.job_id) if one.job_id else ""
    words = _WORDS.get(one.kind, one.kind.capitalize()).format(job=job[:8])
    return schema.Transaction(
        id=str(seq),
        created_at=one.created_at,
        type=TYPES.get(one.kind, one.kind),
        amount=after // MICRO - before // MICRO,
        balance_after=after // MICRO,
        description=one.memo or words,
        job_id=job or None,
    )


def to_package(one: Package) -> schema.Package:
    """Return credits for sale."""
    return schema.Package(
        id=one.id, name=one.name, credits=one.credits, price_cents=one.price_cents
    )


def to_me(user: User, caller: Principal) -> schema.Me:
    """Return who is calling. A name that is no address is no e-mail address either."""
    name = user.username
    email = name if "@" in name else ""
    return schema.Me(id=public_id(user.id), email=email, name=name, tier=caller.rate_limit)


def key_prefix(key: people.Key) -> str:
    """Return how a key begins; it finds the key, and proves nothing."""
    return f"{key.prefix}{key.lookup}"


def to_key(key: people.Key) -> schema.Key:
    """Return a key without its secret."""
    return schema.Key(
        id=public_id(key.id),
        name=key.name,
        key_prefix=key_prefix(key),
        scopes=list(key.scopes),
        created_at=key.created_at,
        last_used_at=key.last_used_at,
        expires_at=key.expires_at,
    )
