"""SMTP with STARTTLS and authentication; ``email`` makes the headers and refuses forged ones."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from email.utils import format_datetime
from typing import Any

import aiosmtplib

from trainshed.domain.delivery import Pace
from trainshed.domain.errors import InvalidInput
from trainshed.domain.notice import as_html, as_text, notice
from trainshed.ports.channel import Mail, Message, Sent, Surroundings

MAX_RECIPIENTS = 10
DEADLINE_S = 20.0

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,190}\Z")


class EmailChannel:
    """``ports.channel.Channel``. Configuration: ``to``, a list of addresses."""

    name = "email"
    at_once = 1
    pace = Pace(burst=10, every_s=6.0)

    def __init__(self, around: Surroundings) -> None:
        """Send through the operator's server, if there is one."""
        self._mail, self._base = around.mail, around.public_url
        self.tls: Any = None

    def check(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the addresses."""
        if self._mail is None:
            raise InvalidInput(
                "This server sends no mail: its operator sets smtp_server and sender_email.",
                field="channel",
            )
        to = config.get("to")
        if not isinstance(to, list) or not 1 <= len(to) <= MAX_RECIPIENTS:
            raise InvalidInput(f"to must list 1 to {MAX_RECIPIENTS} addresses.", field="to")
        for one in to:
            if not isinstance(one, str) or not _ADDRESS.match(one):
                raise InvalidInput("to: this is no e-mail address.", field="to")
        return {"to": list(dict.fromkeys(to))}

    def shown(self, config: Mapping[str, Any]) -> str:
        """Return the addresses."""
        return ", ".join(config["to"])

    async def send(self, config: Mapping[str, Any], message: Message) -> Sent:
        """Success is that the server took it for at least one recipient."""
        if self._mail is None:
            return Sent(False, detail="This server sends no mail now.")
        letter = compose(self._mail, config["to"], message, self._base)
        try:
            async with asyncio.timeout(DEADLINE_S):
                code, words = await self._deliver(self._mail, letter, config["to"])
        except TimeoutError:
            return Sent(False, detail=f"The mail server did not answer within {DEADLINE_S:g} s.")
        except aiosmtplib.SMTPResponseException as error:
            return Sent(False, error.code, f"The mail server answered {error.code}.")
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            return Sent(False, detail=f"The mail was not taken ({type(error).__name__}).")
        return Sent(True, code, "", words)

    async def _deliver(self, mail: Mail, letter: EmailMessage, to: list[str]) -> tuple[int, str]:
        client = aiosmtplib.SMTP(
            hostname=mail.server, port=mail.port, timeout=DEADLINE_S, use_tls=mail.tls == "tls",
            start_tls={"starttls": True, "auto": None}.get(mail.tls, False), tls_context=self.tls,
            local_hostname=_domain(mail.sender),
        )  # fmt: skip
        async with client:
            if mail.password:
                if mail.tls == "auto" and client.get_transport_info("sslcontext") is None:
                    raise aiosmtplib.SMTPException("no TLS")
                await client.login(mail.sender, mail.password)
            refused, words = await client.send_message(letter, sender=mail.sender, recipients=to)
        return 250, words if not refused else f"{len(refused)} recipients were refused. {words}"


def compose(mail: Mail, to: list[str], message: Message, base_url: str) -> EmailMessage:
    """Return the letter. Its Message-ID is that of the delivery, so that a repeat can be told."""
    one = notice(message.kind, message.body.get("data") or {}, base_url)
    letter = EmailMessage(policy=WIRE)
    letter["From"] = mail.sender
    letter["To"] = ", ".join(to)
    letter["Subject"] = one.title
    letter["Date"] = format_datetime(message.sent_at)
    letter["Message-ID"] = f"<{message.id}@{_domain(mail.sender)}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(as_text(one))
    letter.add_alternative(as_html(one), subtype="html")
    return letter


def _domain(sender: str) -> str:
    return sender.rpartition("@")[2] or "localhost"
