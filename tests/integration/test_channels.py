"""Slack and e-mail against a real HTTP sink and a real SMTP server."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from tests.support.certificate import make_certificate
from tests.support.deps import make_channels
from tests.support.sink import sinking

from trainshed.channels.email.channel import EmailChannel
from trainshed.ports.channel import Mail, Message, Sent

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PASSWORD = "canary-of-the-mail-server"


def message(kind: str = "job.failed", **job: Any) -> Message:
    told = {"id": "train-0badcafe", "name": "nightly", "retry_count": 2, **job}
    data = {"job": told, "job_id": "job_1", "message": "exit code 3"}
    return Message(
        "dlv_1", kind, {"type": kind, "timestamp": "2026-03-04T05:06:07Z", "data": data}, NOW
    )


@dataclass
class Box:
    """What a mail server took."""

    got: list[Any] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    refuse: bool = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.refuse:
            return "451 later"
        self.got.append((session.ssl is not None, envelope))
        return "250 taken"

    def login(self, *args: Any) -> AuthResult:
        data = args[-1]
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)

    def letter(self) -> EmailMessage:
        raw = self.got[-1][1].content
        found = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        return found


@contextmanager
def mail_server(box: Box, tls: ssl.SSLContext | None, login: bool) -> Iterator[int]:
    more: dict[str, Any] = {"tls_context": tls} if tls else {}
    if login:
        more |= {"authenticator": box.login, "auth_required": True, "auth_require_tls": bool(tls)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(box, hostname="127.0.0.1", port=port, **more)
    server.start()
    try:
        yield port
    finally:
        server.stop()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    certificate, key = make_certificate(tmp_path_factory.mktemp("tls"), "mail.example")
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.load_cert_chain(certificate, key)
    return there, certificate


def send(port: int, one: Message, mode: str = "auto", password: str = "", ca: Any = None) -> Sent:
    mail = Mail("127.0.0.1", port, "shed@example.org", password, mode)
    channel = make_channels(mail=mail)["email"]
    assert isinstance(channel, EmailChannel)
    channel.tls = ssl.create_default_context(cafile=str(ca)) if ca else None
    config = channel.check({"to": ["one@example.org", "two@example.org"]})
    return run(channel, config, one)


def run(channel: Any, config: Any, one: Message) -> Sent:
    """Send, and leave no connection behind."""

    async def main() -> Sent:
        sent: Sent = await channel.send(config, one)
        if outbound := getattr(channel, "_outbound", None):
            await outbound.aclose()
        await asyncio.sleep(0.05)
        return sent

    return asyncio.run(main())


def test_starttls_and_login(tls: tuple[ssl.SSLContext, Path]) -> None:
    box = Box()
    with mail_server(box, tls[0], login=True) as port:
        assert send(port, message(), password=PASSWORD, ca=tls[1]).ok
        assert send(port, message(), "starttls", PASSWORD, tls[1]).ok
        wrong = send(port, message(), password="wrong", ca=tls[1])
        assert not wrong.ok
        assert wrong.status == 535
        stranger = send(port, message(), password=PASSWORD)  # a certificate that nobody signed
        assert not stranger.ok
        assert PASSWORD not in repr(stranger)
    encrypted, envelope = box.got[0]
    assert encrypted
    assert envelope.rcpt_tos == ["one@example.org", "two@example.org"]
    assert (b"shed@example.org", PASSWORD.encode()) in box.logins
    assert len(box.got) == 2


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_password_never_travels_in_the_clear() -> None:
    box = Box()
    with mail_server(box, None, login=True) as port:
        assert not send(port, message(), password=PASSWORD).ok
        assert box.logins == []
        assert not send(port, message(), "starttls", PASSWORD).ok
        assert box.logins == []
        assert send(port, message(), "off", PASSWORD).ok  # the operator insists


def test_the_letter_says_what_happened() -> None:
    box = Box()
    with mail_server(box, None, login=False) as port:
        assert send(port, message()).ok
        letter = box.letter()
        assert letter["Subject"] == "Training Job FAILED: nightly"
        text = letter.get_body(("plain",))
        html = letter.get_body(("html",))
        assert text is not None
        assert html is not None
        for part in (text.get_content(), html.get_content()):
            assert "train-0badcafe" in part
            assert "exit code 3" in part
        hostile = "x\r\nBcc: victim@example.org\n\n<script>alert(1)</script>"
        assert send(port, message(name=hostile)).ok
        letter = box.letter()
        assert letter["Bcc"] is None
        assert letter["To"] == "one@example.org, two@example.org"
        page = letter.get_body(("html",))
        assert page is not None
        assert "<script>" not in page.get_content()
        assert send(port, message("job.retrying")).ok
        assert box.letter()["Subject"] == "Training Job RETRYING: nightly"
        assert send(port, message("job.succeeded", name="größe")).ok
        assert box.letter()["Subject"] == "Training Job COMPLETED: größe"
        box.refuse = True
        assert send(port, message()).status == 451


def test_slack_gets_the_documented_attachment() -> None:
    with sinking() as sink:
        channel = make_channels()["slack"]
        config = channel.check({"url": sink.url("/ok/T0/B0/very-secret")})
        assert "very-secret" not in channel.shown(config)
        for kind, colour in (
            ("job.succeeded", "good"), ("job.failed", "danger"), ("job.retrying", "warning"),
        ):  # fmt: skip
            one = message(kind, name="<!channel> & co")
            assert run(make_channels()["slack"], config, one).ok
            (made,) = json.loads(sink.got[-1].body)["attachments"]
            assert made["color"] == colour
            assert made["title"].endswith("&lt;!channel&gt; &amp; co")
            fields = {f["title"]: f["value"] for f in made["fields"]}
            assert list(fields) == ["Job ID", "Status", "Retry Count", "Message"]
            assert fields["Job ID"] == "train-0badcafe"
            assert fields["Retry Count"] == "2"
            assert made["timestamp"] == int(NOW.timestamp())
