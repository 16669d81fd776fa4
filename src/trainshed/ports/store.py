"""The store: everything that must survive. SQL is its secret.

``Store.write(fn)`` runs ``fn(tx)`` in one transaction and returns its value after the commit;
``fn``
does nothing but call ``tx`` (no clock, network, blobs or executors) and may run more than once.
All checks that guard a write happen inside ``fn``. An exception rolls back only that ``fn``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from trainshed.domain.artifact import Artifact, ArtifactKind, BlobRef
from trainshed.domain.attempt import Attempt
from trainshed.domain.events import Event
from trainshed.domain.job import Job
from trainshed.domain.ledger import Balance, Entry, Hold, Unit
from trainshed.domain.people import Account, Key, Session, User
from trainshed.domain.placement import Candidate
from trainshed.domain.preemption import Running
from trainshed.ports.benches import Benches
from trainshed.ports.deliveries import Deliveries
from trainshed.ports.logins import Logins
from trainshed.ports.paging import After
from trainshed.ports.records import Records
from trainshed.ports.schedules import Schedules
from trainshed.ports.streams import Streams

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Every field narrows; empty means all. ``account_id`` None is for the engine and operators.

    ``live``: whether it has a live Attempt; ``begun``: whether it ever had one.
    """

    account_id: str | None = None
    states: tuple[str, ...] = ()
    name: str | None = None
    pool: str | None = None
    dialect: str | None = None
    workload: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    created_after: datetime | None = None
    created_before: datetime | None = None
    live: bool | None = None
    begun: bool | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file a user sent, found by its ``path`` key. ``blob`` is None until its content came."""

    id: str
    account_id: str
    path: str
    size_bytes: int
    created_at: datetime
    blob: BlobRef | None = None
    completed_at: datetime | None = None


class Jobs(Protocol):
    """Jobs. ``env`` is the sealed environment; it is read by the assignment alone."""

    def insert(self, job: Job, env: bytes | None) -> None: ...
    def get(self, job_id: str, account_id: str | None = None) -> Job:
        """Return it. Raises NotFound when absent, deleted or (given) another account's."""

    def several(self, ids: Sequence[str]) -> list[Job]:
        """Those of the ids that there are, in this order, for the engine."""

    def save(self, job: Job) -> None:
        """Write every mutable field of an existing Job."""

    def env(self, job_id: str) -> bytes | None: ...
    def page(self, where: JobFilter, after: After | None, limit: int, offset: int = 0) -> list[Job]:
        """Newest first; ``offset`` more are passed over, for dialects that page by number."""

    def count(self, where: JobFilter) -> int:
        """How many there are."""

    def starting_with(self, id_prefix: str, where: JobFilter, limit: int) -> list[str]:
        """Ids that begin so; ``id_prefix`` ends in hex digits."""

    def counts(self, account_id: str | None) -> dict[str, int]:
        """Number of Jobs by state."""

    def waiting(self) -> list[str]:
        """Ids of the accounts that have Jobs that could be placed (intent run, no outcome, no live
        Attempt)."""

    def lanes(self, account_id: str, after: str, limit: int) -> list[str]:
        """Names of the account's lanes (placeable Jobs of equal priority and resources) behind
        the name ``after``, best priority first."""

    def head(self, account_id: str, lane: str, now: datetime, limit: int) -> list[Candidate]:
        """The first of a lane whose back-off is over, by created_at, id."""

    def n_ahead(self, job: Job) -> int:
        """How many placeable Jobs come before this one by priority, created_at, id (all
        accounts).
        """

    def on_boards(self, limit: int) -> list[tuple[Job, bool]]:
        """The Jobs of the pool ``boards`` that have not ended, over all accounts, and whether each
        has a live Attempt; oldest first."""

    def built_on_others(self, account_ids: Sequence[str]) -> list[Job]:
        """Jobs of these accounts that have not ended and use an artifact, or retry a Job."""

    def next_due(self, now: datetime) -> datetime | None:
        """The earliest ``not_before`` in the future of a Job that waits for back-off."""


class Attempts(Protocol):
    """Attempts and their leases."""

    def insert(self, attempt: Attempt) -> None:
        """Raises Conflict if the Job already has a live Attempt (a unique index says so)."""

    def get(self, attempt_id: str) -> Attempt:
        """Raises NotFound."""

    def save_if_held(self, attempt: Attempt) -> bool:
        """Write every mutable field where id, token match and the stored state is live; False
        (nothing changed) otherwise. Every write for an Attempt goes through here (law 4)."""

    def live(self) -> list[Attempt]: ...
    def running(self) -> list[Running]:
        """All live Attempts with what placement must know of their Jobs, oldest lease first."""

    def live_of(self, job_id: str) -> Attempt | None: ...
    def of_job(self, job_id: str) -> list[Attempt]:
        """By number."""

    def of_jobs(self, job_ids: Sequence[str]) -> dict[str, list[Attempt]]: ...
    def old(self, before: datetime, after: After | None, limit: int) -> list[Attempt]:
        """Attempts that still hold streams or unpinned artifacts and whose Jobs ended before then,
        oldest end first, strictly after the cursor (ended_at, id)."""

    def renew(self, held: Mapping[str, tuple[int, datetime]]) -> None:
        """Flush ``renewed_at`` of many: attempt id -> (token, renewed_at)."""

    def usage(self, since: datetime) -> dict[str, float]:
        """Account id -> core-seconds (GPU counted as 8 cores) used by Attempts since then, for
        fair share.
        """


class Ledger(Protocol):
    """Money. Entries are only ever added; the store keeps a running balance beside each."""

    def lock(self, account_id: str) -> None:
        """Serialise money decisions of the account until commit (FOR UPDATE on PostgreSQL)."""

    def balance(self, account_id: str, unit: Unit) -> Balance: ...
    def post(self, entries: Sequence[Entry]) -> None:
        """Add the legs of one balanced transaction. Raises Conflict if they do not sum to 0."""

    def entries(
        self,
        account_id: str,
        unit: Unit | None,
        before_seq: int | None,
        limit: int,
        offset: int = 0,
    ) -> list[tuple[int, int, Entry]]:
        """(seq, balance after, entry) of a wallet, newest first."""

    def n_entries(self, account_id: str, unit: Unit) -> int:
        """How many entries a wallet has."""

    def insert_hold(self, hold: Hold) -> None:
        """Raises Conflict if the Job already has an open hold."""

    def open_hold(self, job_id: str) -> Hold | None: ...
    def end_hold(self, hold: Hold) -> None:
        """Write the end of an open hold. Raises Conflict if it was not open."""

    def holds(self, account_id: str, open_only: bool) -> list[Hold]: ...
    def holds_of(self, job_id: str) -> list[Hold]: ...
    def captured(self, job_id: str) -> int:
        """Micro-credits captured for the Job so far."""

    def captured_by_key(self, key_id: str) -> int:
        """Micro-credits captured plus held by Jobs made with this key, for its spending limit."""


class Events(Protocol):
    """The outbox."""

    def append(self, event: Event) -> None:
        """``seq`` is assigned so that a reader following it never skips one (D11)."""

    def page(
        self, after_seq: int, limit: int, account_id: str | None = None, job_id: str | None = None
    ) -> list[Event]: ...
    def last_seq(self) -> int: ...


class People(Protocol):
    """Accounts, users, keys, sessions. ``get_*`` raise NotFound; ``find_*`` return None."""

    def insert_account(self, account: Account) -> None: ...
    def get_account(self, account_id: str) -> Account: ...
    def find_account(self, name: str) -> Account | None: ...
    def save_account(self, account: Account) -> None: ...
    def accounts(self) -> list[Account]: ...
    def due(self, now: datetime, limit: int) -> list[Account]:
        """Those whose ``renews_at`` has come, the earliest first."""

    def insert_user(self, user: User) -> None:
        """Raises Conflict if the username is taken (compared case-folded)."""

    def get_user(self, user_id: str, account_id: str | None = None) -> User: ...
    def find_user(self, username: str) -> User | None: ...
    def save_user(self, user: User) -> None: ...
    def users(self, account_id: str | None) -> list[User]: ...
    def n_people(self) -> int:
        """Users that are not disabled: isolation rules depend on there being a second person."""

    def insert_key(self, key: Key) -> None: ...
    def get_key(self, key_id: str, account_id: str | None = None) -> Key: ...
    def find_key(self, lookup: str) -> Key | None: ...
    def save_key(self, key: Key) -> None: ...
    def keys(self, account_id: str) -> list[Key]: ...
    def insert_session(self, session: Session) -> None: ...
    def find_session(self, session_id: str) -> Session | None: ...
    def save_session(self, session: Session) -> None: ...
    def revoke_sessions(self, user_id: str, at: datetime) -> None: ...


class Files(Protocol):
    """Uploads, artifacts and what blobs they refer to."""

    def insert_upload(self, upload: Upload) -> None: ...
    def get_upload(self, upload_id: str, account_id: str | None = None) -> Upload: ...
    def save_upload(self, upload: Upload) -> None: ...
    def delete_upload(self, upload_id: str) -> None: ...
    def uploads(self, account_id: str, after: After | None, limit: int) -> list[Upload]: ...
    def find_uploads(self, account_id: str, path: str) -> list[Upload]:
        """Completed uploads with exactly this key, newest first."""

    def uploads_below(self, account_id: str, folder: str, limit: int) -> list[Upload]:
        """Completed uploads whose key begins with ``folder/``, newest first."""

    def insert_artifact(self, artifact: Artifact) -> None: ...
    def get_artifact(self, artifact_id: str, account_id: str | None = None) -> Artifact: ...
    def artifacts(self, job_id: str, kind: ArtifactKind | None = None) -> list[Artifact]:
        """Oldest first."""

    def save_artifact(self, artifact: Artifact) -> None:
        """Only ``pinned`` may change."""

    def delete_artifact(self, artifact_id: str) -> None: ...
    def used_bytes(self, account_id: str) -> int:
        """Bytes of the account's distinct blobs and streams."""

    def blob_refs(self, account_id: str) -> set[str]:
        """Every md5 that an upload, artifact or sealed stream of the account refers to."""


class Tx(Protocol):
    """One transaction's view of everything; dead after ``fn`` returns."""

    @property
    def jobs(self) -> Jobs: ...
    @property
    def attempts(self) -> Attempts: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def events(self) -> Events: ...
    @property
    def people(self) -> People: ...
    @property
    def files(self) -> Files: ...
    @property
    def logins(self) -> Logins: ...
    @property
    def records(self) -> Records: ...
    @property
    def schedules(self) -> Schedules: ...
    @property
    def deliveries(self) -> Deliveries: ...
    @property
    def streams(self) -> Streams: ...
    @property
    def benches(self) -> Benches: ...


class Store(Protocol):
    """Thread-safe. Raises StorageFull when the disk refuses a write, Overloaded when its queue is
    full.
    """

    def write(self, fn: Callable[[Tx], T]) -> T:
        """Run in a transaction; return after it is durable."""

    def submit(self, fn: Callable[[Tx], T]) -> Future[T]:
        """As ``write``, without waiting: for event loops."""

    def read(self, fn: Callable[[Tx], T]) -> T:
        """Run on a consistent snapshot; writing is an error."""

    def verify(self) -> list[str]:
        """Check every invariant, read-only; return the broken ones in words."""

    def backup(self, target: str) -> None:
        """Write a restorable copy to the file ``target`` while running."""

    def close(self) -> None: ...
