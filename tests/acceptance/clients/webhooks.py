"""Every webhook method of the SDK against a server, by any client that is imported as
``middleman``. Gets JSON, prints JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

middleman: Any = importlib.import_module("middleman")
errors: Any = importlib.import_module("middleman.client")
given = json.load(sys.stdin)
seen: dict[str, Any] = {}

with middleman.MiddlemanClient(api_key=given["key"], base_url=given["url"]) as client:
    seen["events"] = client.get_webhook_events()
    made = client.create_webhook("ci", given["sink"], ["*"])
    other = client.create_webhook("other", given["sink"] + "/other", ["job.completed"])
    seen["secret"], seen["other_secret"] = made.pop("secret"), other.pop("secret")
    seen["id"], one = made["id"], made["id"]
    assert client.list_webhooks() == [made, other]
    assert client.get_webhook(one) == made
    changed = client.update_webhook(
        other["id"], name="off", url=given["sink"] + "/moved", events=["*"], is_active=False
    )
    seen["changed"] = {k: changed[k] for k in ("name", "url", "events", "is_active")}
    seen["test"] = client.test_webhook(one)

    client.upload_file(given["script"])
    job = client.create_job("train.py", "train.py", name="Told", gpu_type="a100")
    while not client.get_job(job.id).is_terminal:
        time.sleep(0.1)
    seen["job"] = job.id
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found, total = client.get_webhook_deliveries(one, limit=100)
        done = {d["event"] for d in found if d["status"] == "delivered"}
        if "job.completed" in done:
            break
        time.sleep(0.1)
    assert total == len(found)
    assert client.get_webhook_deliveries(one, limit=1, offset=1)[1] == total
    seen["deliveries"] = found
    seen["new_secret"] = client.regenerate_webhook_secret(one)
    seen["again"] = client.test_webhook(one)
    for each in (one, other["id"]):
        assert not client.delete_webhook(each)
    assert client.list_webhooks() == []
    try:
        client.get_webhook(one)
    except errors.ApiError as error:
        seen["gone"] = error.status_code

print(json.dumps(seen, default=str))
