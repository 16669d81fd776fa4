"""Written by make_stub.py from the async client; do not edit."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from trainshed_client.api.files import Watch
from trainshed_client.api.jobs import Spec
from trainshed_client.api.schedules import Fire, Schedule
from trainshed_client.backoff import Backoff
from trainshed_client.folder import Folder
from trainshed_client.models import (
    Account,
    Artifact,
    Attempt,
    AuditLine,
    Balance,
    DownloadTicket,
    Entry,
    Event,
    Health,
    Hold,
    Job,
    Key,
    Log,
    Me,
    MetricPoint,
    MetricSeries,
    MetricSummary,
    Plan,
    Receipt,
    Session,
    StateChange,
    Upload,
    User,
)
from trainshed_client.models_boards import Bench, Board, Measurement, ModelCheck
from trainshed_client.models_hooks import ChannelInfo, Delivery, EventKind, Replayed, WebhookInfo
from trainshed_client.models_offers import Offer, Offers

class BlockingDownloadStream:
    size_bytes: int | None
    filename: str | None
    def chunks(self) -> Iterator[bytes]: ...

class BlockingJobs:
    def artifacts(self, job_id: str) -> tuple[Artifact, ...]: ...
    def attempts(self, job_id: str) -> tuple[Attempt, ...]: ...
    def cancel(self, job_id: str) -> Job: ...
    def checkpoint(self, job_id: str) -> None: ...
    def checkpoints(self, job_id: str) -> tuple[Artifact, ...]: ...
    def create(
        self,
        command: Sequence[str] | str | None = None,
        *,
        spec: Spec | None = None,
        idempotency_key: str | None = None,
        **more: Any,
    ) -> Job: ...
    def delete(self, job_id: str) -> None: ...
    def download(self, job_id: str, path: str | None = None, target: str | Path = ".") -> Path: ...
    def events(
        self, job_id: str, *, after_seq: int | None = None, limit: int | None = None
    ) -> Iterator[Event]: ...
    def follow_logs(
        self, job_id: str, *, offset: int | None = None
    ) -> Iterator[Log | StateChange]: ...
    def follow_metrics(self, job_id: str) -> Iterator[MetricPoint]: ...
    def get(self, job_id: str) -> Job: ...
    def list(
        self,
        *,
        state: str | Sequence[str] | None = None,
        name: str | None = None,
        pool: str | None = None,
        workload: str | None = None,
        label: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]: ...
    def logs(
        self,
        job_id: str,
        *,
        stream: str = "stdout",
        attempt: int | None = None,
        offset: int | None = None,
        limit: int | None = None,
        tail: int | None = None,
    ) -> Log: ...
    def metrics(self, job_id: str) -> tuple[MetricSummary, ...]: ...
    def pause(self, job_id: str) -> Job: ...
    def pin(self, job_id: str, artifact_id: str, pinned: bool = True) -> None: ...
    def plan(
        self, command: Sequence[str] | str | None = None, *, spec: Spec | None = None, **more: Any
    ) -> Plan: ...
    def receipt(self, job_id: str) -> Receipt: ...
    def resume(self, job_id: str) -> Job: ...
    def retry(self, job_id: str, *, idempotency_key: str | None = None) -> Job: ...
    def series(
        self,
        job_id: str,
        key: str,
        *,
        max_points: int | None = None,
        first_step: int | None = None,
        last_step: int | None = None,
    ) -> MetricSeries: ...
    def set_priority(self, job_id: str, priority: int) -> Job: ...
    def wait(self, job_id: str, timeout_s: float | None = None, *, poll_s: float = 2.0) -> Job: ...

class BlockingSchedules:
    def create(
        self,
        name: str,
        cron: str,
        job: Mapping[str, Any],
        *,
        zone: str | None = None,
        catch_up: str | None = None,
        overlap: str | None = None,
        paused: bool | None = None,
    ) -> Schedule: ...
    def delete(self, schedule_id: str) -> None: ...
    def fires(self, schedule_id: str, *, limit: int | None = None) -> Iterator[Fire]: ...
    def get(self, schedule_id: str) -> Schedule: ...
    def list(self, *, limit: int | None = None) -> Iterator[Schedule]: ...
    def next(self, schedule_id: str) -> tuple[datetime, ...]: ...
    def preview(self, cron: str, *, zone: str | None = None) -> tuple[datetime, ...]: ...
    def retry(self, schedule_id: str) -> Schedule: ...
    def run_now(self, schedule_id: str) -> Schedule: ...
    def update(
        self,
        schedule_id: str,
        *,
        name: str | None = None,
        cron: str | None = None,
        job: Mapping[str, Any] | None = None,
        zone: str | None = None,
        catch_up: str | None = None,
        overlap: str | None = None,
        paused: bool | None = None,
    ) -> Schedule: ...

class BlockingBoards:
    def check(self, name: str, upload_id: str, *, quantize: bool = False) -> ModelCheck: ...
    def get(self, name: str) -> Board: ...
    def list(self, *, limit: int | None = None) -> Iterator[Board]: ...
    def run(
        self,
        name: str,
        upload_id: str,
        *,
        quantize: bool = False,
        calibration_id: str | None = None,
        bench: bool = False,
        job_name: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job: ...

class BlockingBenches:
    def answer(self, bench_id: str, measurement_id: str, parcel: bytes) -> None: ...
    def attach(self, board: str, name: str, version: str) -> Bench: ...
    def detach(self, bench_id: str) -> None: ...
    def failed(self, bench_id: str, measurement_id: str, message: str) -> None: ...
    def list(self, *, limit: int | None = None) -> Iterator[Bench]: ...
    def next(self, bench_id: str, *, wait_s: int = 0) -> Measurement: ...
    def parcel(self, bench_id: str, measurement_id: str) -> bytes: ...
    def renew(self, bench_id: str) -> Bench: ...

class BlockingUploads:
    def delete(self, upload_id: str) -> None: ...
    def get(self, upload_id: str) -> Upload: ...
    def list(self, *, limit: int | None = None) -> Iterator[Upload]: ...
    def upload_file(
        self, local: str | Path, path: str | None = None, *, on_progress: Watch | None = None
    ) -> Upload: ...
    def upload_folder(
        self,
        folder: str | Path | Folder = ".",
        *,
        prefix: str = "",
        ignore: Iterable[str] = (),
        on_progress: Watch | None = None,
    ) -> tuple[dict[str, Any], ...]: ...

class BlockingDownloads:
    def create(self, job_id: str, path: str | None = None) -> DownloadTicket: ...
    def open(
        self, job_id: str, path: str | None = None
    ) -> AbstractContextManager[BlockingDownloadStream]: ...
    def save(
        self,
        job_id: str,
        path: str | None = None,
        target: str | Path = ".",
        *,
        on_progress: Watch | None = None,
    ) -> Path: ...

class BlockingKeys:
    def create(
        self,
        name: str,
        *,
        scopes: Sequence[str] | None = None,
        expires_in_days: int | None = None,
        spend_limit_ucredits: int | None = None,
        prefix: str | None = None,
    ) -> Key: ...
    def list(self, *, limit: int | None = None) -> Iterator[Key]: ...
    def revoke(self, key_id: str) -> None: ...
    def rotate(self, key_id: str) -> Key: ...

class BlockingUsers:
    def create(
        self, username: str, password: str, *, role: str, account_id: str | None = None
    ) -> User: ...
    def list(self, *, limit: int | None = None) -> Iterator[User]: ...
    def set_password(self, user_id: str, password: str) -> None: ...
    def update(
        self,
        user_id: str,
        *,
        role: str | None = None,
        disabled: bool | None = None,
        operator: bool | None = None,
    ) -> User: ...

class BlockingAccounts:
    def create(
        self, name: str, *, quota_bytes: int | None = None, weight: float | None = None
    ) -> Account: ...
    def get(self, account_id: str) -> Account: ...
    def grant(
        self,
        account_id: str,
        amount_ucredits: int,
        *,
        unit: str = "credit",
        memo: str | None = None,
        idempotency_key: str | None = None,
    ) -> Balance: ...
    def list(self, *, limit: int | None = None) -> Iterator[Account]: ...
    def update(
        self,
        account_id: str,
        *,
        name: str | None = None,
        disabled: bool | None = None,
        quota_bytes: int | None = None,
        weight: float | None = None,
        plan: str | None = None,
    ) -> Account: ...

class BlockingCredits:
    def balances(self) -> tuple[Balance, ...]: ...
    def entries(self, *, limit: int | None = None) -> Iterator[Entry]: ...
    def holds(self, *, limit: int | None = None) -> Iterator[Hold]: ...

class BlockingOfferList:
    def drain(self, offer_id: str) -> Offer: ...
    def list(self) -> Offers: ...
    def undrain(self, offer_id: str) -> Offer: ...

class BlockingEvents:
    def follow(self, *, after_seq: int | None = None) -> Iterator[Event]: ...
    def list(
        self, *, after_seq: int | None = None, limit: int | None = None
    ) -> Iterator[Event]: ...

class BlockingWebhooks:
    def create(
        self, name: str, url: str, events: Sequence[str], *, job_id: str | None = None
    ) -> WebhookInfo: ...
    def delete(self, webhook_id: str) -> None: ...
    def deliveries(
        self, webhook_id: str, *, state: str | None = None, limit: int | None = None
    ) -> Iterator[Delivery]: ...
    def delivery(self, webhook_id: str, delivery_id: str) -> Delivery: ...
    def event_kinds(self) -> tuple[EventKind, ...]: ...
    def get(self, webhook_id: str) -> WebhookInfo: ...
    def list(self, *, limit: int | None = None) -> Iterator[WebhookInfo]: ...
    def replay(self, webhook_id: str, delivery_id: str) -> Delivery: ...
    def replay_dead(self, webhook_id: str) -> Replayed: ...
    def rotate(self, webhook_id: str) -> WebhookInfo: ...
    def test(self, webhook_id: str) -> Delivery: ...
    def update(
        self,
        webhook_id: str,
        *,
        name: str | None = None,
        url: str | None = None,
        events: Sequence[str] | None = None,
        active: bool | None = None,
    ) -> WebhookInfo: ...

class BlockingChannels:
    def create(
        self,
        channel: str,
        name: str,
        events: Sequence[str],
        *,
        url: str | None = None,
        to: Sequence[str] | None = None,
        job_id: str | None = None,
    ) -> ChannelInfo: ...
    def delete(self, channel_id: str) -> None: ...
    def deliveries(
        self, channel_id: str, *, state: str | None = None, limit: int | None = None
    ) -> Iterator[Delivery]: ...
    def get(self, channel_id: str) -> ChannelInfo: ...
    def list(self, *, limit: int | None = None) -> Iterator[ChannelInfo]: ...
    def replay_dead(self, channel_id: str) -> Replayed: ...
    def test(self, channel_id: str) -> Delivery: ...
    def update(
        self,
        channel_id: str,
        *,
        name: str | None = None,
        events: Sequence[str] | None = None,
        active: bool | None = None,
        url: str | None = None,
        to: Sequence[str] | None = None,
    ) -> ChannelInfo: ...

class Client:
    url: str
    jobs: BlockingJobs
    schedules: BlockingSchedules
    boards: BlockingBoards
    benches: BlockingBenches
    uploads: BlockingUploads
    downloads: BlockingDownloads
    keys: BlockingKeys
    users: BlockingUsers
    accounts: BlockingAccounts
    credits: BlockingCredits
    offers: BlockingOfferList
    events: BlockingEvents
    webhooks: BlockingWebhooks
    channels: BlockingChannels
    def audit(self, *, limit: int | None = None) -> Iterator[AuditLine]: ...
    def health(self) -> Health: ...
    def login(self, username: str, password: str) -> Session: ...
    def logout(self) -> None: ...
    def me(self) -> Me: ...
    def register(self, username: str, password: str) -> Session: ...
    def set_password(self, old_password: str, new_password: str) -> None: ...
    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        profile: str | None = None,
        timeout_s: float = 30.0,
        backoff: Backoff | None = None,
        http: httpx2.AsyncBaseTransport | None = None,
    ) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Client: ...
    def __exit__(self, *_: object) -> None: ...
