"""The Training Job Orchestrator's API: jobs with a cron schedule, an image and retries.

**Invariant:** a ``train-…`` id is a Schedule; each fire or retry is a new Job, and the newest is
shown. Every failure is ``{detail, error_type}``.
**Boundary:** as every dialect: ``http/``, ``usecases/``, views and domain values.
"""

from __future__ import annotations
