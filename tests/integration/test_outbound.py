"""The guard at the socket: rebinding, redirects, endless and slow answers, odd addresses, TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.certificate import make_certificate
from tests.support.sink import Sink, sinking

from trainshed.channels import outbound as guard
from trainshed.channels.outbound import LIMIT_BYTES, GuardedHttp, Lookups
from trainshed.domain.errors import InvalidInput, Unavailable
from trainshed.domain.outbound import Rules, rules
from trainshed.ports.channel import Answer

OPEN = rules(["127.0.0.0/8"], [80, 443], [])


@pytest.fixture
def sink() -> Iterator[Sink]:
    with sinking() as made:
        yield made


class Names:
    """A toy resolver that answers what it is told, in turn."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def post(rule: Rules, url: str, names: Names | None = None) -> Answer:
    async def main() -> Answer:
        http = GuardedHttp(rule, names)
        try:
            return await http.post(url, {"x": "y"}, b"{}")
        finally:
            await http.aclose()

    return asyncio.run(main())


def test_the_name_is_resolved_once_and_kept_as_host(sink: Sink) -> None:
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    assert post(OPEN, f"http://hooks.example:{sink.port}/ok", names).status == 200
    assert names.asked == 1
    assert sink.got[0].headers["host"] == f"hooks.example:{sink.port}"


def test_rebinding_to_an_inside_address_is_refused(sink: Sink) -> None:
    """The name looked harmless when it was subscribed; what counts is the connection."""
    shut = rules([], [80, 443, sink.port], [])
    url = f"http://hooks.example:{sink.port}/ok"
    assert GuardedHttp(shut).check(url) == url
    for answer in (["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["0.0.0.0"]):
        with pytest.raises(Unavailable, match="not allowed"):
            post(shut, url, Names(answer))
    assert sink.got == []


def test_each_connection_is_judged_anew(sink: Sink) -> None:
    async def main() -> None:
        names = Names(["127.0.0.1"], ["169.254.169.254"])
        http = GuardedHttp(OPEN, names)
        url = f"http://hooks.example:{sink.port}/ok"
        assert (await http.post(url, {}, b"")).status == 200
        await http.aclose()
        with pytest.raises(Unavailable, match="not allowed"):
            await http.post(url, {}, b"")
        await http.aclose()

    asyncio.run(main())


def test_a_redirect_is_an_answer(sink: Sink) -> None:
    assert post(OPEN, sink.url("/redirect")).status == 302
    assert [g.path for g in sink.got] == ["/redirect"]


def test_an_endless_answer_is_cut(sink: Sink) -> None:
    assert len(post(OPEN, sink.url("/big")).body) == LIMIT_BYTES


def test_a_silent_endpoint_times_out(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "DEADLINE_S", 0.5)
    with pytest.raises(Unavailable, match="No whole answer"):
        post(OPEN, sink.url("/hang"))


def test_no_proxy_of_the_environment_is_used(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert post(OPEN, sink.url("/ok")).status == 200


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/", "file:///etc/passwd", "gopher://x/", "http://", "https:///x",
        "http://user:pw@example.org/", "http://example.org:99999/", "http://example.org:0/",
        "http://exa mple.org/", "http://example.org/\r\nx: y", "http://127.0.0.1/", "http://[::1]/",
        "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/latest", "http://münchen.de/",
        "http://example.org\\@127.0.0.1/", "javascript:alert(1)", "", "x" * 3000, 5, None,
        "http://8.8.8.8:22/",
    ],
)  # fmt: skip
def test_what_can_never_be_called_is_said_at_once(url: object) -> None:
    with pytest.raises(InvalidInput):
        GuardedHttp(rules([], [80, 443], [])).check(url)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "localhost"])
def test_odd_spellings_of_loopback_are_refused(host: str, sink: Sink) -> None:
    shut = rules([], [sink.port], [])
    with pytest.raises(InvalidInput):
        GuardedHttp(shut).check(f"http://{host}:{sink.port}/ok")
    with pytest.raises(Unavailable):
        post(shut, f"http://{host}:{sink.port}/ok")
    assert sink.got == []


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(Unavailable, match="resolved"):
        post(OPEN, "http://nothing.invalid/")
    assert asyncio.run(Lookups()("127.0.0.1", 80)) == ["127.0.0.1"]


def test_tls_keeps_the_name(tmp_path: Path) -> None:
    """The certificate must be for the name though the socket goes to the address; SNI says it."""
    certificate, key = make_certificate(tmp_path, "hooks.example")
    asked: list[str | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def main() -> None:
        there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        there.load_cert_chain(certificate, key)
        there.sni_callback = lambda _, name, __: asked.append(name)
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=there)
        port = server.sockets[0].getsockname()[1]
        http = GuardedHttp(OPEN, Names(["127.0.0.1"]))
        http.tls = ssl.create_default_context(cafile=str(certificate))
        assert (await http.post(f"https://hooks.example:{port}/", {}, b"")).status == 200
        with pytest.raises(Unavailable):
            await http.post(f"https://other.example:{port}/", {}, b"")
        await http.aclose()
        server.close()

    asyncio.run(main())
    assert asked == ["hooks.example", "other.example"]
