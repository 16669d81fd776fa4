"""What of a requirements file is taken, and that two spellings make one environment."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.domain.environment import MAX_BYTES, normalise
from trainshed.domain.errors import InvalidInput

HOSTILE = [
    "-e .", "-r other.txt", "-c limits.txt", "--index-url https://evil.example/simple",
    "--extra-index-url=http://x", "--find-links /etc", "--trusted-host x", "--pre",
    "numpy --index-url https://x", "numpy --global-option=x", "numpy --config-settings a=b",
    "file:///etc/passwd", "./local", "../up", "/root/x", "~/x", ".", "..", "a/b",
    "name @ file:///etc/passwd", "name @ https://evil.example/x.whl", "name@https://x",
    "https://evil.example/x.whl", "git+https://x/y.git", "git+ssh://git@x/y", "C:\\x", "\\\\h\\x",
    "evil.whl", "evil.tar.gz", "EVIL.ZIP", "${PIP_INDEX_URL}", "$(id)", "`id`", "a b", "a; b; c|d",
    "numpy==1 && id", "a==1\x00b", "a --hash=md5:00", "a[", "a]", "==1", "\u202enumpy",
]  # fmt: skip


@pytest.mark.parametrize("line", HOSTILE)
def test_a_hostile_line_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(InvalidInput, match=r"Line 2 of the requirements"):
        normalise(f"numpy>=1\n{line}\n")


def test_a_continued_line_cannot_hide_an_option() -> None:
    with pytest.raises(InvalidInput, match="Line 1"):
        normalise("numpy \\\n --index-url \\\n https://x")


def test_a_refusal_shows_no_password() -> None:
    with pytest.raises(InvalidInput) as caught:
        normalise("--index-url https://me:canary@host/simple")
    assert "canary" not in caught.value.detail


def test_what_is_taken() -> None:
    digest = "a" * 64
    text = (
        "# a comment\r\n\r\nNumPy >=1.26,<3  # why\nscikit-learn[alldeps] ~= 1.4\n"
        "tomli==2.0.1; python_version < '3.11' and sys_platform == \"linux\"\n"
        f"six==1.16.0 \\\n    --hash=sha256:{digest} \\\n    --hash=sha256:{digest[::-1]}\n"
        "zope.interface (>=5)\na===1.0+local\nb!=1.*\n"
    )
    lines = normalise(text).splitlines()
    assert len(lines) == 7
    assert f"six==1.16.0 --hash=sha256:{digest} --hash=sha256:{digest}" in lines
    assert normalise("\n".join(reversed(lines))) == normalise(text)
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "a\n" * (MAX_BYTES // 2 + 1)])
def test_none_and_too_much_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        normalise(text)


@given(st.text(max_size=300))
def test_any_text_is_taken_plain_or_refused(text: str) -> None:
    try:
        lines = normalise(text).splitlines()
    except InvalidInput:
        return
    assert not [x for x in lines if x.startswith("-") or "/" in x or "@" in x or "$" in x]


@pytest.mark.parametrize("part", [" ", "a", "a,", "=", "[a", "==1,", " --hash=", "\t", "a."])
def test_long_lines_cost_no_time(part: str) -> None:
    began = time.monotonic()
    for text in (part * 8000, "a" + part * 8000 + "!", "a ==" + part * 8000):
        try:
            normalise(text)
        except InvalidInput:
            continue
    assert time.monotonic() - began < 5
