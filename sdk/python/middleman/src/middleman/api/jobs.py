"""Jobs: make, look, steer, wait, follow."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from middleman.api.base import Family, at, listed, mapping, objects, paged, value
from middleman.models import (
    Framework,
    GpuType,
    Job,
    JobCreateResponse,
    JobDetail,
    JobStatus,
    LogEntry,
    read,
)


class Jobs(Family):
    """Training jobs. Every ``job_id`` may be the first eight characters or more of an id."""

    def list_jobs(
        self, status: JobStatus | str | None = None, limit: int = 20, offset: int = 0
    ) -> tuple[list[Job], int]:
        """Return a page of jobs, newest first, and how many there are in all."""
        wanted = None if status is None else str(status)
        found, total = paged(self._get("/jobs", status=wanted, limit=limit, offset=offset))
        return objects(Job, found), total

    def get_job(self, job_id: str) -> JobDetail:
        """Return one job."""
        return read(JobDetail, self._get(at("/jobs", job_id)))

    def create_job(
        self,
        script_path: str,
        input_data_path: str,
        name: str | None = None,
        gpu_type: GpuType | str = GpuType.T4,
        gpu_count: int = 1,
        framework: Framework | str = Framework.PYTORCH,
        requirements_file: str | None = None,
        checkpoint_frequency: int = 10,
        max_runtime_hours: int = 4,
        environment_variables: Mapping[str, str] | None = None,
    ) -> JobCreateResponse:
        """Queue a training job. It is never made twice, even if an answer gets lost.

        Args:
            script_path: The script, as ``upload_file`` named it or as the operator offers it.
            input_data_path: The data, likewise; archives are unpacked for the job.
            name: What lists call it; the script's name if None.
            gpu_type: ``t4``, ``v100``, ``a100``, or what else the server offers.
            gpu_count: How many GPUs, 1 to 8.
            framework: ``pytorch``, ``tensorflow`` or ``jax``.
            requirements_file: A requirements file, uploaded too.
            checkpoint_frequency: Epochs between checkpoints.
            max_runtime_hours: After so many hours the job is ended, 1 to 72. Their price is
                reserved now; what is not used is given back.
            environment_variables: Values are secret: answers show them masked.

        Raises:
            InsufficientCreditsError: the account has less than the job would reserve.
            InvalidRequestError: a value is wrong.
        """
        body: dict[str, Any] = {
            "script_path": script_path,
            "input_data_path": input_data_path,
            "gpu_type": str(gpu_type),
            "gpu_count": gpu_count,
            "framework": str(framework),
            "checkpoint_frequency": checkpoint_frequency,
            "max_runtime_hours": max_runtime_hours,
            "environment_variables": dict(environment_variables or {}),
        }
        if name is not None:
            body["name"] = name
        if requirements_file is not None:
            body["requirements_file"] = requirements_file
        return read(JobCreateResponse, self._create("/jobs", body))

    def cancel_job(self, job_id: str) -> dict[str, Any]:
        """End a job; the answer's ``refunded_credits`` is what of the reservation came back.

        Raises:
            ConflictError: it has ended already.
        """
        return mapping(self._post(at("/jobs", job_id, "cancel")))

    def pause_job(self, job_id: str) -> Job:
        """Stop a job so that it can go on from its last checkpoint.

        Raises:
            ConflictError: it is neither queued nor running.
        """
        return read(Job, self._post(at("/jobs", job_id, "pause")))

    def resume_job(self, job_id: str) -> Job:
        """Let a paused job go on.

        Raises:
            ConflictError: it is not paused.
        """
        return read(Job, self._post(at("/jobs", job_id, "resume")))

    def get_job_logs(
        self, job_id: str, since: datetime | str | None = None, tail: int | None = None
    ) -> list[LogEntry]:
        """Return the job's log lines, oldest first.

        Args:
            job_id: The job.
            since: Only lines of this time and later: aware, or as ISO 8601.
            tail: Only so many last lines.
        """
        if tail is None:
            return list(self.iter_job_logs(job_id, since))
        answer = self._get(at("/jobs", job_id, "logs"), since=_text(since), tail=tail)
        return cast("list[LogEntry]", listed(answer, "logs"))

    def iter_job_logs(self, job_id: str, since: datetime | str | None = None) -> Iterator[LogEntry]:
        """Yield the job's log lines, oldest first, a page in memory at a time."""
        after = ""
        while True:
            found, after = self._log_page(job_id, after, since)
            if not found:
                return
            yield from found

    def follow_logs(
        self, job_id: str, poll_interval: float = 1.0, since: datetime | str | None = None
    ) -> Iterator[LogEntry]:
        """Yield every log line once, as they come, until the job has ended."""
        after = ""
        while True:
            job = self.get_job(job_id)  # asked first: the last lines come before the end
            while True:
                found, after = self._log_page(job_id, after, since)
                if not found:
                    break
                yield from found
            if job.is_terminal:
                return
            time.sleep(poll_interval)

    def _log_page(
        self, job_id: str, after: str, since: datetime | str | None
    ) -> tuple[list[LogEntry], str]:
        """Return the lines behind ``after``, and where to go on."""
        answer = self._get(at("/jobs", job_id, "logs"), since=_text(since), after=after)
        return cast("list[LogEntry]", listed(answer, "logs")), value(answer, "next", str)

    def wait_for_job(
        self, job_id: str, poll_interval: float = 10.0, timeout: float | None = None
    ) -> JobDetail:
        """Return the job once it has ended.

        Raises:
            TimeoutError: it has not within ``timeout`` seconds; the job goes on.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while not (job := self.get_job(job_id)).is_terminal:
            pause = poll_interval
            if until is not None:
                pause = min(pause, until - time.monotonic())
                if pause <= 0:
                    raise TimeoutError(
                        f"Job {job_id} is still {job.status} after {timeout:g} s; it goes on."
                    )
            time.sleep(pause)
        return job

    def stream_job_status(self, job_id: str, poll_interval: float = 5.0) -> Iterator[JobDetail]:
        """Yield the job every ``poll_interval`` seconds, its last time when it has ended."""
        while True:
            job = self.get_job(job_id)
            yield job
            if job.is_terminal:
                return
            time.sleep(poll_interval)


def _text(moment: datetime | str | None) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment
