"""One transaction's view of everything (``ports.store.Tx``)."""

from __future__ import annotations

from trainshed.store.link import Link
from trainshed.store.repos.attempts import SqlAttempts
from trainshed.store.repos.benches import SqlBenches
from trainshed.store.repos.deliveries import SqlDeliveries
from trainshed.store.repos.events import SqlEvents
from trainshed.store.repos.files import SqlFiles
from trainshed.store.repos.jobs import SqlJobs
from trainshed.store.repos.ledger import SqlLedger
from trainshed.store.repos.logins import SqlLogins
from trainshed.store.repos.people import SqlPeople
from trainshed.store.repos.records import SqlRecords
from trainshed.store.repos.schedules import SqlSchedules
from trainshed.store.streams import SqlStreams


class Repos:
    """All repositories over one Link."""

    __slots__ = (
        "attempts", "benches", "deliveries", "events", "files", "jobs", "ledger", "link", "logins",
        "people", "records", "schedules", "streams",
    )  # fmt: skip

    def __init__(self, link: Link) -> None:
        """Build them; cheap."""
        self.link = link
        self.jobs = SqlJobs(link)
        self.attempts = SqlAttempts(link)
        self.ledger = SqlLedger(link)
        self.events = SqlEvents(link)
        self.people = SqlPeople(link)
        self.files = SqlFiles(link)
        self.logins = SqlLogins(link)
        self.records = SqlRecords(link)
        self.schedules = SqlSchedules(link)
        self.deliveries = SqlDeliveries(link)
        self.streams = SqlStreams(link)
        self.benches = SqlBenches(link)

    def flush(self) -> None:
        """Write what waits for the end of the transaction: audit lines, then events."""
        self.records.flush()
        self.events.flush()


class Work:
    """A ``Tx``: hands out repositories until ``end``; a mistake afterwards is a RuntimeError."""

    __slots__ = ("_repos",)

    def __init__(self, repos: Repos) -> None:
        """Begin."""
        self._repos: Repos | None = repos

    def end(self) -> None:
        """Die: the transaction is over."""
        self._repos = None

    @property
    def _alive(self) -> Repos:
        if self._repos is None:
            raise RuntimeError("This transaction is over: use tx only inside fn.")
        return self._repos

    @property
    def jobs(self) -> SqlJobs:
        """Jobs."""
        return self._alive.jobs

    @property
    def attempts(self) -> SqlAttempts:
        """Attempts."""
        return self._alive.attempts

    @property
    def ledger(self) -> SqlLedger:
        """Money."""
        return self._alive.ledger

    @property
    def events(self) -> SqlEvents:
        """The outbox."""
        return self._alive.events

    @property
    def people(self) -> SqlPeople:
        """Accounts, users, keys, sessions."""
        return self._alive.people

    @property
    def files(self) -> SqlFiles:
        """Uploads and artifacts."""
        return self._alive.files

    @property
    def logins(self) -> SqlLogins:
        """Logins to container registries."""
        return self._alive.logins

    @property
    def records(self) -> SqlRecords:
        """Idempotency, audit, settings, public ids."""
        return self._alive.records

    @property
    def deliveries(self) -> SqlDeliveries:
        """Subscriptions and deliveries."""
        return self._alive.deliveries

    @property
    def streams(self) -> SqlStreams:
        """Logs and metrics."""
        return self._alive.streams

    @property
    def schedules(self) -> SqlSchedules:
        """Schedules, fires, volumes."""
        return self._alive.schedules

    @property
    def benches(self) -> SqlBenches:
        """Attached benches, and what waits for them."""
        return self._alive.benches
