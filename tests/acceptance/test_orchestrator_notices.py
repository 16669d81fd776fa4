"""Orchestrator jobs tell people by mail and chat, in open mode, by the document's own names."""

from __future__ import annotations

import email
import email.policy
import json
import socket
import sys
from collections import Counter
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx2
from aiosmtpd.controller import Controller
from tests.support.server import doctor, eventually, running
from tests.support.sink import sinking

IMAGE = "gcr.io/my-project/trainer:latest"
SUBJECT = "Training Job {}: {}"
COLOURS = {"completed": "good", "retrying": "warning", "failed": "danger"}


class Box:
    """A mailbox behind a real SMTP server."""

    def __init__(self) -> None:
        self.got: list[tuple[list[str], EmailMessage]] = []

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(letter, EmailMessage)
        self.got.append((envelope.rcpt_tos, letter))
        return "250 taken"


def part(letter: EmailMessage, kind: str) -> str:
    found = letter.get_body((kind,))
    assert found is not None
    return str(found.get_content())


def start(http: httpx2.Client, name: str, code: str, retries: int) -> str:
    made = http.post("/jobs", json={
        "name": name, "image": IMAGE, "command": ["python", "-c", code],
        "schedule": "0 2 1 1 *", "max_retries": retries,
    })  # fmt: skip
    assert made.status_code == 201, made.text
    job = str(made.json()["job_id"])
    assert http.post(f"/jobs/{job}/run-now").status_code == 200
    return job


def test_mail_and_chat_of_jobs_that_complete_retry_and_fail(tmp_path: Path) -> None:
    box = Box()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mail = Controller(box, hostname="127.0.0.1", port=port)
    mail.start()
    with sinking() as sink:
        (tmp_path / ".env").write_text(
            f"SMTP_SERVER=127.0.0.1\nSMTP_PORT={port}\nSENDER_EMAIL=shed@example.org\n"
            "RECIPIENT_EMAILS=ops@example.org,lead@example.org\n"
            f"SLACK_WEBHOOK_URL={sink.url('/ok/secret-path')}\n"
        )
        ours = {
            "TRAINSHED_IMAGES": json.dumps({IMAGE: sys.executable}),
            "TRAINSHED_ORCHESTRATOR_BACKOFF_S": "0.2",
            "TRAINSHED_OUTBOUND_ALLOW": '["127.0.0.0/8"]',
        }
        try:
            with running(tmp_path / "data", **ours) as server:
                with httpx2.Client(base_url=server.url, timeout=30) as http:
                    good = start(http, "nightly", "print('ok')", 0)
                    bad = start(http, "<!channel> & co", "raise SystemExit(3)", 2)
                    # Nobody is told of jobs of other doors.
                    with server.client() as me:
                        me.post("/v1/jobs", json={"command": ["false"], "name": "native"})
                    eventually(lambda: len(box.got) >= 4, 90, "the mails")
                    eventually(lambda: len(sink.at("/ok/secret-path")) >= 4, 90, "the chat")
                    run = http.get(f"/jobs/{bad}/attempts").json()["attempts"][0]["run_id"]
                assert "secret-path" not in server.log()
                assert doctor(server) == []
        finally:
            mail.stop()
    told = [("completed", good, "nightly", "0"), ("failed", bad, "<!channel> & co", "2")]
    told += [("retrying", bad, "<!channel> & co", n) for n in ("1", "2")]
    assert Counter(letter["Subject"] for _, letter in box.got) == Counter(
        SUBJECT.format(status.upper(), name) for status, _, name, _ in told
    )
    for to, letter in box.got:
        assert to == ["ops@example.org", "lead@example.org"]
        job = good if "COMPLETED" in letter["Subject"] else bad
        html, text = part(letter, "html"), part(letter, "plain")
        assert f"<td>{job}</td>" in html
        assert f"Job ID: {job}" in text
        assert "<!channel>" not in html
        assert run not in html + text
        assert ("exit code 3" in text) == (job == bad)
    cards = []
    for got in sink.at("/ok/secret-path"):
        (card,) = got.event["attachments"]
        rows = {f["title"]: f["value"] for f in card["fields"]}
        assert set(rows) == {"Job ID", "Status", "Retry Count", "Message"}
        assert card["color"] == COLOURS[rows["Status"]]
        assert isinstance(card["timestamp"], int)
        name = card["title"].partition(": ")[2].replace("&lt;", "<").replace("&gt;", ">")
        name = name.replace("&amp;", "&")
        assert "<!channel>" not in card["title"]
        cards.append((rows["Status"], rows["Job ID"], name, rows["Retry Count"]))
    assert sorted(cards) == sorted(told)
