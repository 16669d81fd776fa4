"""Text of strangers, made safe for a terminal (SECURITY 21).

Colours and weights (SGR) may pass. Every other escape sequence is dropped: cursor moves, titles,
links, clipboard and device reports, in their seven-bit and eight-bit forms. Lone control
characters are dropped, a carriage return is a line end, and characters that turn the direction of
writing are spelled out.
"""

from __future__ import annotations

import re

RESET = "\x1b[0m"

_SGR = re.compile(r"\x1b\[[0-9;:]{0,64}m")
#: Everything that is not plain text. The order matters: longer forms first.
_SPECIAL = re.compile(
    r"(?P<sgr>\x1b\[[0-9;:]{0,64}m)"
    r"|(?P<csi>\x1b\[[\x30-\x3f]{0,64}[\x20-\x2f]{0,8}[\x40-\x7e])"
    r"|(?P<string>\x1b[\]PX^_])"
    r"|(?P<esc>\x1b[\x20-\x2f]{0,8}[\x30-\x7e]|\x1b)"
    r"|(?P<line>\r\n?)"
    r"|(?P<turn>[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069])"
    r"|(?P<bad>[\ud800-\udfff])"
    r"|(?P<control>[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f])"
)
#: What may be the start of a sequence that the next piece of text completes.
_OPEN = re.compile(r"(?:\x1b(?:\[[\x30-\x3f]{0,64}[\x20-\x2f]{0,8}|[\x20-\x2f]{0,8})?|\r)\Z")
#: Where an operating-system command (title, link, …) ends: BEL, ST, a line end, a new escape.
_STRING_END = re.compile(r"\x07|\x9c|\x1b\\|(?=[\r\n])|(?=\x1b)")


class Defuser:
    """Defuses a stream piece by piece: the pieces together give what the whole would."""

    def __init__(self, *, colour: bool = True) -> None:
        self._colour = colour
        self._held = ""
        self._in_string = False

    def feed(self, text: str) -> str:
        """Return what of the stream so far is safe to print now."""
        text = self._held + text
        open_end = _OPEN.search(text)
        cut = open_end.start() if open_end else len(text)
        self._held = text[cut:]
        return self._clean(text[:cut])

    def flush(self) -> str:
        """Return what was still held back at the end of the stream."""
        rest, self._held = self._held, ""
        done = self._clean(rest)
        self._in_string = False
        return done

    def _clean(self, text: str) -> str:
        found: list[str] = []
        at = 0
        while at < len(text):
            if self._in_string:
                end = _STRING_END.search(text, at)
                if end is None:
                    break
                at, self._in_string = end.end(), False
                continue
            special = _SPECIAL.search(text, at)
            if special is None:
                found.append(text[at:])
                break
            found.append(text[at : special.start()])
            found.append(self._replaced(special))
            at = special.end()
        return "".join(found)

    def _replaced(self, special: re.Match[str]) -> str:
        kind, text = special.lastgroup, special.group()
        if kind == "string":
            self._in_string = True
        if kind == "sgr" and self._colour:
            return text
        if kind == "turn":
            return f"\\u{ord(text):04x}"
        return {"line": "\n", "bad": "\ufffd"}.get(kind or "", "")


def defuse(text: str, *, colour: bool = True) -> str:
    """Return all of ``text`` made safe; with ``colour`` off, colours go too."""
    defuser = Defuser(colour=colour)
    return defuser.feed(text) + defuser.flush()


def plain(text: object) -> str:
    """Return ``text`` as one safe line without colours: names, reasons, messages."""
    return defuse(str(text), colour=False).replace("\n", " ").replace("\t", " ")


def has_open_colour(text: str) -> bool:
    """Return whether the last colour in ``text`` is not a reset."""
    found = _SGR.findall(text)
    return bool(found) and found[-1] not in (RESET, "\x1b[m")
