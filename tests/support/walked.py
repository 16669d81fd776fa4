"""What the guard walk sends: a valid body for every route that takes one."""

from __future__ import annotations

from typing import Any

from tests.support.deps import PASSWORD

#: A valid body for every route that takes one: a new route without an entry fails this module.
NATIVE_BODIES: dict[str, Any] = {
    "POST /login": {"username": "nobody", "password": "wrong"},
    "POST /boards/{name}/check": {"upload_id": "{upload_id}"},
    "POST /benches": {"board": "nrf52840dk", "name": "walked", "version": "0.0.test"},
    "POST /benches/{bench_id}/measurements/{measurement_id}/failed": {"message": "walked"},
    "POST /register": {"username": "x", "password": "y"},
    "POST /me/password": {"old_password": "no", "new_password": PASSWORD},
    "POST /accounts": {"name": "walked"},
    "PATCH /accounts/{account_id}": {"weight": 3.0},
    "POST /accounts/{account_id}/grants": {"amount_ucredits": 5},
    "POST /users": {"username": "walked", "password": PASSWORD, "role": "viewer"},
    "PATCH /users/{user_id}": {"role": "viewer"},
    "POST /users/{user_id}/password": {"password": PASSWORD + "!"},
    "POST /keys": {"name": "walked"},
    "POST /jobs/plan": {"command": ["true"]},
    "POST /jobs": {"command": ["true"]},
    "PATCH /jobs/{job_id}": {"priority": 7},
    "PATCH /jobs/{job_id}/checkpoints/{artifact_id}": {"pinned": True},
    "POST /uploads": {"path": "walked.txt", "size_bytes": 3},
    "POST /webhooks": {"name": "walked", "url": "http://127.0.0.1:9/", "events": ["*"]},
    "PATCH /webhooks/{webhook_id}": {"name": "walked"},
    "POST /channels": {
        "channel": "slack",
        "name": "walked",
        "url": "http://127.0.0.1:9/",
        "events": ["job.*"],
    },
    "PATCH /channels/{channel_id}": {"name": "walked"},
    "POST /downloads": {"job_id": "{job_id}"},
    "POST /schedules/preview": {"cron": "0 2 * * *"},
    "POST /schedules": {"name": "walked", "cron": "0 2 * * *", "job": {"command": ["true"]}},
    "PATCH /schedules/{schedule_id}": {"cron": "0 3 * * *"},
    "PUT /registries": {"registry": "quay.io", "username": "x", "password": "y"},
}
MIDDLEMAN_BODIES: dict[str, Any] = {
    "POST /jobs": {"script_path": "train.py", "gpu_type": "a100"},
    "POST /api-keys": {"name": "walked"},
    "POST /data/upload-url": {"filename": "walked.txt", "content_type": "a/b", "size_bytes": 3},
    "POST /data/download-url": {"job_id": "{job_id}"},
    "POST /webhooks": {"name": "walked", "url": "http://127.0.0.1:9/", "events": ["*"]},
    "PATCH /webhooks/{webhook_id}": {"name": "walked"},
}
NATIVE_NO_BODY = {
    "POST /logout", "POST /keys/{key_id}/rotate", "POST /jobs/{job_id}/cancel",
    "POST /jobs/{job_id}/pause", "POST /jobs/{job_id}/resume", "POST /jobs/{job_id}/retry",
    "POST /jobs/{job_id}/checkpoint", "PUT /signed/{token}",
    "POST /benches/{bench_id}/renew", "POST /benches/{bench_id}/next",
    "PUT /benches/{bench_id}/measurements/{measurement_id}",
    "POST /schedules/{schedule_id}/run-now", "POST /schedules/{schedule_id}/retry",
    "POST /webhooks/{webhook_id}/rotate", "POST /webhooks/{webhook_id}/test",
    "POST /webhooks/{webhook_id}/replay", "POST /channels/{channel_id}/test",
    "POST /webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
    "POST /channels/{channel_id}/replay",
    "POST /offers/{offer_id}/drain", "POST /offers/{offer_id}/undrain",
}  # fmt: skip
MIDDLEMAN_NO_BODY = {
    "POST /jobs/{job_id}/cancel", "POST /jobs/{job_id}/pause", "POST /jobs/{job_id}/resume",
    "POST /webhooks/{webhook_id}/regenerate-secret", "POST /webhooks/{webhook_id}/test",
    "POST /webhooks/{webhook_id}/replay",
    "POST /webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
}  # fmt: skip
#: This door ignores what it does not know, as its contract says.
MIMAAS_BODIES: dict[str, Any] = {
    "POST /login": {"username": "nobody", "password": "wrong"},
    "POST /register": {"username": "x", "password": "y"},
}
#: These take a form.
MIMAAS_FORMS = {"POST /api/validate", "POST /api/requests/", "POST /api/requests"}
