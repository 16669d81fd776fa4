"""What people are told about a Job: one small template for chat and e-mail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

#: event kind -> (the word people know, colour); other kinds are named by their last part.
_WORDS = {
    "job.succeeded": ("completed", "good"),
    "job.failed": ("failed", "danger"),
    "job.retrying": ("retrying", "warning"),
    "job.running": ("running", "good"),
    "job.resumed": ("resumed", "good"),
    "job.evicted": ("evicted", "danger"),
    "credits.depleted": ("depleted", "danger"),
}
_MESSAGES = {
    "completed": "The job has ended well.",
    "failed": "The job has failed and will not run again by itself.",
    "retrying": "The job has failed and will run again.",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """``rows`` are (heading, value) pairs, all of them text."""

    title: str
    status: str
    colour: str
    rows: tuple[tuple[str, str], ...]
    link: str = ""


def notice(kind: str, data: Mapping[str, Any], base_url: str = "") -> Notice:
    """Return what to say of an event; ``data`` is the payload's own ``data``.

    Its ``path``, if any, is where the Job is to be seen.
    """
    word, colour = _WORDS.get(kind, (kind.rpartition(".")[2].replace("_", " "), "warning"))
    job = data.get("job")
    message = str(data.get("message") or _MESSAGES.get(word) or kind)
    if not isinstance(job, Mapping):
        title = f"Trainshed {word.upper()}: {_line(str(data.get('subject') or kind), 200)}"
        return Notice(title, word, colour, (("Status", word), ("Message", message)))
    job_id = str(job.get("id") or "")
    title = f"Training Job {word.upper()}: {_line(str(job.get('name') or job_id), 200)}"
    rows = (
        ("Job ID", job_id),
        ("Status", word),
        ("Retry Count", str(job.get("retry_count") or 0)),
        ("Message", message[:2000]),
    )
    path = data.get("path") or f"/v1/jobs/{data.get('job_id') or job_id}"
    link = f"{base_url}{path}" if base_url else ""
    return Notice(title, word, colour, rows, link)


def as_text(one: Notice) -> str:
    """Return it as plain text."""
    lines = [one.title, "", *(f"{head}: {value}" for head, value in one.rows)]
    return "\n".join([*lines, "", one.link]).rstrip() + "\n"


def as_html(one: Notice) -> str:
    """Return it as a page; every value is escaped."""
    rows = "".join(
        f'<tr><th align="left">{escape(head)}</th><td>{escape(value)}</td></tr>'
        for head, value in one.rows
    )
    link = f'<p><a href="{escape(one.link)}">{escape(one.link)}</a></p>' if one.link else ""
    return f"<html><body><h2>{escape(one.title)}</h2><table>{rows}</table>{link}</body></html>"


def _line(text: str, longest: int) -> str:
    """Return text fit for a header: one line, no control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:longest]
