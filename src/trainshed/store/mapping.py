"""Rows ↔ domain values, both ways and losslessly. Row order is the tables' column order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from trainshed.domain.artifact import Artifact, ArtifactKind, BlobRef, FileRef
from trainshed.domain.attempt import Attempt
from trainshed.domain.events import Event
from trainshed.domain.job import MAX_PRIORITY, Job, JobSpec
from trainshed.domain.ledger import Entry, Hold, HoldState, Unit
from trainshed.domain.people import Account, Key, Session, User
from trainshed.domain.states import LIVE, AttemptState, Intent, JobState, Reason
from trainshed.ports.records import AuditEntry, Remembered
from trainshed.ports.store import Upload
from trainshed.store.link import Row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LIVE_STATES = frozenset(s.value for s in LIVE)

_json = msgspec.json.Encoder()
_object = msgspec.json.Decoder(dict[str, Any])
_strings = msgspec.json.Decoder(tuple[str, ...])
_spec = msgspec.json.Decoder(JobSpec)
_JOB = {s.value: s for s in JobState}
_ATTEMPT = {s.value: s for s in AttemptState}
_REASON: dict[str | None, Reason | None] = {None: None, **{r.value: r for r in Reason}}
_INTENT = {i.value: i for i in Intent}


def micros(at: datetime) -> int:
    """Return microseconds since the epoch; a naive time is a TypeError."""
    since = at - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def micros_or_none(at: datetime | None) -> int | None:
    """As ``micros``, None for None."""
    return None if at is None else micros(at)


def moment(stored: int) -> datetime:
    """Return the aware UTC time of ``micros``."""
    return EPOCH + timedelta(microseconds=stored)


def moment_or_none(stored: int | None) -> datetime | None:
    """As ``moment``, None for None."""
    return None if stored is None else EPOCH + timedelta(microseconds=stored)


def json_text(value: Any) -> str:
    """Return compact JSON."""
    return _json.encode(value).decode()


def json_object(text: str) -> dict[str, Any]:
    """Return the object that ``json_text`` wrote."""
    return _object.decode(text)


def clean(text: str) -> str:
    """Return free text as both engines can keep it: NUL becomes U+FFFD, lone surrogates ``?``."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def lane_of(job: Job) -> str:
    """Return the name of the Job's lane: in order, best priority first."""
    want = job.spec.resources
    size = f"{want.gpus}.{want.millicpus}.{want.memory_bytes}"
    return f"{MAX_PRIORITY - job.spec.priority:04}.{size}.{want.gpu_type or ''}"


def job_row(job: Job) -> Row:
    """Return the row of a fresh Job (``live`` 0)."""
    spec = job.spec
    want = spec.resources
    return (
        job.id, job.account_id, job.user_id, job.key_id, job.dialect, spec.workload, job.pool,
        job.name, job.state.value, job.intent.value, _value(job.outcome), _value(job.reason),
        clean(job.message), -spec.priority, lane_of(job), 0, micros(job.created_at),
        micros_or_none(job.not_before), micros_or_none(job.started_at),
        micros_or_none(job.ended_at), micros_or_none(job.deleted_at), job.retry_of,
        job.retries_used, job.infrastructure_used, job.n_attempts, want.millicpus,
        want.memory_bytes, want.gpus, want.gpu_type, spec.max_runtime_s, json_text(spec),
    )  # fmt: skip


#: What ``save`` writes, in the order of ``job_changes``. Of the spec only the priority may change.
JOB_MUTABLE = (
    "name", "state", "intent", "outcome", "reason", "message", "rank", "lane", "not_before",
    "started_at", "ended_at", "deleted_at", "retries_used", "infrastructure_used", "n_attempts",
)  # fmt: skip


def job_changes(job: Job) -> Row:
    """Return the values of ``JOB_MUTABLE``."""
    return (
        job.name, job.state.value, job.intent.value, _value(job.outcome), _value(job.reason),
        clean(job.message), -job.spec.priority, lane_of(job), micros_or_none(job.not_before),
        micros_or_none(job.started_at), micros_or_none(job.ended_at),
        micros_or_none(job.deleted_at), job.retries_used, job.infrastructure_used, job.n_attempts,
    )  # fmt: skip


def job_from(row: Row) -> Job:
    """Return the Job of a row."""
    (
        id_, account_id, user_id, key_id, dialect, _workload, pool, name, state, intent, outcome,
        reason, message, rank, _lane, _live, created_at, not_before, started_at, ended_at,
        deleted_at, retry_of, retries_used, infrastructure_used, n_attempts, *_want, spec_text,
    ) = row  # fmt: skip
    spec = _spec.decode(spec_text)
    if spec.priority != -rank:
        spec = replace(spec, priority=-rank)
    return Job(
        id_, account_id, user_id, dialect, name, spec, pool, moment(created_at), _JOB[state],
        _INTENT[intent], _JOB[outcome] if outcome else None, _REASON[reason], message,
        moment_or_none(not_before), moment_or_none(started_at), moment_or_none(ended_at),
        retry_of, retries_used, infrastructure_used, n_attempts, moment_or_none(deleted_at),
        key_id,
    )  # fmt: skip


def attempt_row(one: Attempt) -> Row:
    """Return the whole row of an Attempt."""
    changes = attempt_changes(one)
    return (
        one.id, one.job_id, one.account_id, one.number, one.token, one.offer_id, one.executor,
        one.pool, one.millicpus, one.memory_bytes, json_text(one.devices), len(one.devices),
        one.slot, *changes[:6], micros(one.leased_at), *changes[6:-2],
        one.runner_token_hash, one.job_token_hash, *changes[-2:],
    )  # fmt: skip


#: What ``save_if_held`` writes, in the order of ``attempt_changes``.
ATTEMPT_MUTABLE = (
    "state", "reason", "message", "order_sent", "isolation", "handle", "renewed_at", "started_at",
    "ended_at", "exit_code", "signal", "runtime_ms", "billable_ms", "checkpoint_ms",
    "resumed_from", "resumed_step", "network", "image_digest",
)  # fmt: skip


def attempt_changes(one: Attempt) -> Row:
    """Return the values of ``ATTEMPT_MUTABLE``."""
    return (
        one.state.value, _value(one.reason), clean(one.message), one.order, one.isolation,
        json_text(one.handle), micros_or_none(one.renewed_at), micros_or_none(one.started_at),
        micros_or_none(one.ended_at), one.exit_code, one.signal, one.runtime_ms, one.billable_ms,
        one.checkpoint_ms, one.resumed_from, one.resumed_step, one.network, one.image_digest,
    )  # fmt: skip


def attempt_from(row: Row) -> Attempt:
    """Return the Attempt of a row."""
    (
        id_, job_id, account_id, number, token, offer_id, executor, pool, millicpus, memory_bytes,
        devices, _gpus, slot, state, reason, message, order, isolation, handle, leased_at,
        renewed_at, started_at, ended_at, exit_code, signal, runtime_ms, billable_ms,
        checkpoint_ms, resumed_from, resumed_step, runner_hash, job_hash, network, image_digest,
    ) = row  # fmt: skip
    return Attempt(
        id_, job_id, account_id, number, token, offer_id, executor, pool, millicpus, memory_bytes,
        moment(leased_at), _strings.decode(devices), slot, _ATTEMPT[state], _REASON[reason],
        message, order, isolation, json_object(handle), moment_or_none(renewed_at),
        moment_or_none(started_at), moment_or_none(ended_at), exit_code, signal, runtime_ms,
        billable_ms, checkpoint_ms, resumed_from, resumed_step, runner_hash, job_hash, network,
        image_digest,
    )  # fmt: skip


def event_row(event: Event) -> Row:
    """Return the row of an Event without its ``seq``."""
    return (
        event.kind, event.account_id, micros(event.at), event.job_id, event.attempt_id,
        json_text(event.data),
    )  # fmt: skip


def event_from(row: Row) -> Event:
    """Return the Event of a row."""
    seq, kind, account_id, at, job_id, attempt_id, data = row
    return Event(kind, account_id, moment(at), job_id, attempt_id, json_object(data), seq)


def entry_row(entry: Entry, balance_after: int | None) -> Row:
    """Return the row of an Entry without its ``seq``."""
    return (
        entry.txn_id, entry.book, entry.amount, entry.unit.value, entry.kind,
        micros(entry.created_at), entry.job_id, entry.attempt_id, clean(entry.memo), balance_after,
    )  # fmt: skip


def entry_from(row: Row) -> tuple[int, int, Entry]:
    """Return (seq, balance after, entry) of a row."""
    seq, txn_id, book, amount, unit, kind, created_at, job_id, attempt_id, memo, after = row
    entry = Entry(
        txn_id, book, amount, Unit(unit), kind, moment(created_at), job_id, attempt_id, memo
    )
    return seq, after or 0, entry


def hold_row(hold: Hold) -> Row:
    """Return the row of a Hold."""
    return (
        hold.id, hold.account_id, hold.job_id, hold.unit.value, hold.amount, hold.state.value,
        micros(hold.created_at), hold.captured, micros_or_none(hold.ended_at),
    )  # fmt: skip


def hold_from(row: Row) -> Hold:
    """Return the Hold of a row."""
    id_, account_id, job_id, unit, amount, state, created_at, captured, ended_at = row
    return Hold(
        id_, account_id, job_id, Unit(unit), amount, HoldState(state), moment(created_at),
        captured, moment_or_none(ended_at),
    )  # fmt: skip


def account_row(account: Account) -> Row:
    """Return the row of an Account."""
    return (
        account.id, account.name, micros(account.created_at), micros_or_none(account.disabled_at),
        account.weight, account.quota_bytes, account.rate_limit, account.plan,
        micros_or_none(account.renews_at),
    )  # fmt: skip


def account_from(row: Row) -> Account:
    """Return the Account of a row."""
    id_, name, created_at, disabled_at, weight, quota_bytes, rate_limit, plan, renews_at = row
    return Account(
        id_, name, moment(created_at), moment_or_none(disabled_at), weight, quota_bytes,
        rate_limit, plan, moment_or_none(renews_at),
    )  # fmt: skip


def user_row(user: User) -> Row:
    """Return the row of a User."""
    return (
        user.id, user.account_id, user.username, user.username.casefold(), user.password_hash,
        user.role, int(user.operator), micros(user.created_at), micros_or_none(user.disabled_at),
        clean(user.email), clean(user.first_name), clean(user.surname),
    )  # fmt: skip


def user_from(row: Row) -> User:
    """Return the User of a row."""
    (
        id_, account_id, username, _folded, password_hash, role, operator, created_at, disabled,
        *names,
    ) = row  # fmt: skip
    return User(
        id_, account_id, username, password_hash, role, bool(operator), moment(created_at),
        moment_or_none(disabled), *names,
    )  # fmt: skip


def key_row(key: Key) -> Row:
    """Return the row of a Key."""
    return (
        key.id, key.account_id, key.user_id, key.name, key.prefix, key.lookup, key.secret_hash,
        json_text(key.scopes), micros(key.created_at), micros_or_none(key.expires_at),
        key.spend_limit_ucredits, micros_or_none(key.last_used_at), micros_or_none(key.revoked_at),
    )  # fmt: skip


def key_from(row: Row) -> Key:
    """Return the Key of a row."""
    (
        id_, account_id, user_id, name, prefix, lookup, secret_hash, scopes, created_at,
        expires_at, limit, last_used_at, revoked_at,
    ) = row  # fmt: skip
    return Key(
        id_, account_id, user_id, name, prefix, lookup, secret_hash, _strings.decode(scopes),
        moment(created_at), moment_or_none(expires_at), limit, moment_or_none(last_used_at),
        moment_or_none(revoked_at),
    )  # fmt: skip


def session_row(session: Session) -> Row:
    """Return the row of a Session."""
    return (
        session.id, session.account_id, session.user_id, session.secret_hash,
        micros(session.created_at), micros(session.expires_at), micros_or_none(session.revoked_at),
    )  # fmt: skip


def session_from(row: Row) -> Session:
    """Return the Session of a row."""
    id_, account_id, user_id, secret_hash, created_at, expires_at, revoked_at = row
    return Session(
        id_, account_id, user_id, secret_hash, moment(created_at), moment(expires_at),
        moment_or_none(revoked_at),
    )  # fmt: skip


def upload_row(upload: Upload) -> Row:
    """Return the row of an Upload."""
    blob = upload.blob
    content = (blob.md5, blob.sha256, blob.size_bytes) if blob else (None, None, None)
    return (
        upload.id, upload.account_id, upload.path, upload.size_bytes, micros(upload.created_at),
        *content, micros_or_none(upload.completed_at),
    )  # fmt: skip


def upload_from(row: Row) -> Upload:
    """Return the Upload of a row."""
    id_, account_id, path, size_bytes, created_at, md5, sha256, blob_bytes, completed_at = row
    blob = BlobRef(md5, sha256, blob_bytes) if md5 is not None else None
    return Upload(
        id_, account_id, path, size_bytes, moment(created_at), blob, moment_or_none(completed_at)
    )


def artifact_row(artifact: Artifact) -> Row:
    """Return the row of an Artifact, without its files."""
    return (
        artifact.id, artifact.account_id, artifact.job_id, artifact.attempt_id,
        artifact.kind.value, artifact.digest, micros(artifact.created_at), artifact.step,
        int(artifact.pinned), len(artifact.files), artifact.size_bytes,
    )  # fmt: skip


def artifact_file_rows(artifact: Artifact) -> list[Row]:
    """Return the rows of an Artifact's files."""
    return [
        (
            artifact.id, n, artifact.account_id, f.path, f.blob.md5, f.blob.sha256,
            f.blob.size_bytes, int(f.executable),
        )
        for n, f in enumerate(artifact.files)
    ]  # fmt: skip


def artifact_from(row: Row, files: list[Row]) -> Artifact:
    """Return the Artifact of a row and its files' rows."""
    id_, account_id, job_id, attempt_id, kind, digest, created_at, step, pinned, _n, _size = row
    held = tuple(FileRef(f[3], BlobRef(f[4], f[5], f[6]), bool(f[7])) for f in files)
    return Artifact(
        id_, account_id, job_id, attempt_id, ArtifactKind(kind), digest, held, moment(created_at),
        step, bool(pinned),
    )  # fmt: skip


def remembered_row(entry: Remembered) -> Row:
    """Return the row of a remembered answer."""
    return (
        entry.account_id, entry.key, entry.fingerprint, entry.status, entry.body,
        micros(entry.created_at),
    )  # fmt: skip


def remembered_from(row: Row) -> Remembered:
    """Return the remembered answer of a row."""
    account_id, key, fingerprint, status, body, created_at = row
    return Remembered(account_id, key, fingerprint, status, bytes(body), moment(created_at))


def audit_from(row: Row) -> AuditEntry:
    """Return the audit line of a row."""
    seq, at, actor, account_id, action, target, data, chain = row
    return AuditEntry(moment(at), actor, account_id, action, target, json_object(data), seq, chain)


def plain(data: Mapping[str, Any]) -> str:
    """Return JSON with sorted keys: the form that the audit chain hashes."""
    return msgspec.json.encode(data, order="sorted").decode()


def _value(state: JobState | Reason | None) -> str | None:
    return None if state is None else state.value
