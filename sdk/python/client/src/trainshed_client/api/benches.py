"""Real boards: attach one, ask what to measure, answer. Operators' keys only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlencode

from trainshed_client.api.group import Group, pages, part
from trainshed_client.decode import decode
from trainshed_client.models_boards import Bench, Measurement


class Benches(Group):
    """The wire of ``trainshed boards attach``. A parcel is in the board workload's own form."""

    def list(self, *, limit: int | None = None) -> AsyncIterator[Bench]:
        """Yield the benches that are there, at most ``limit``."""
        return pages(self._transport, Bench, "/v1/benches", limit=limit, sized=False)

    async def attach(self, board: str, name: str, version: str) -> Bench:
        """Attach a board; ``version`` is that of the program that measures.

        Raises:
            Conflict: it is not the server's.
        """
        body = {"board": board, "name": name, "version": version}
        return decode(Bench, await self._transport.call("POST", "/v1/benches", body=body))

    async def renew(self, bench_id: str) -> Bench:
        """Say that it is still there.

        Raises:
            NotFound: the server has forgotten it; attach it again.
        """
        path = f"{_bench(bench_id)}/renew"
        return decode(Bench, await self._transport.call("POST", path, idempotent=True))

    async def next(self, bench_id: str, *, wait_s: int = 0) -> Measurement:
        """Wait at most ``wait_s`` (20) for something to measure.

        Raises:
            NotFound: as ``renew``.
        """
        path = f"{_bench(bench_id)}/next?{urlencode({'wait_s': wait_s})}"
        return decode(Measurement, await self._transport.call("POST", path, idempotent=True))

    async def parcel(self, bench_id: str, measurement_id: str) -> bytes:
        """Return what is to be measured.

        Raises:
            NotFound: nobody wants it any more.
        """
        async with self._transport.open("GET", _work(bench_id, measurement_id)) as answer:
            return bytes(await answer.aread())

    async def answer(self, bench_id: str, measurement_id: str, parcel: bytes) -> None:
        """Send what was measured.

        Raises:
            NotFound: as ``parcel``.
        """

        async def whole() -> AsyncIterator[bytes]:
            yield parcel

        path = _work(bench_id, measurement_id)
        async with self._transport.open("PUT", path, content=whole()) as answer:
            await answer.aread()

    async def failed(self, bench_id: str, measurement_id: str, message: str) -> None:
        """Say why it could not be measured; its owner's run is given back.

        Raises:
            NotFound: as ``parcel``.
        """
        path = f"{_work(bench_id, measurement_id)}/failed"
        await self._transport.call("POST", path, body={"message": message})

    async def detach(self, bench_id: str) -> None:
        """Leave; what it has waits for another bench."""
        await self._transport.call("DELETE", _bench(bench_id))


def _bench(bench_id: str) -> str:
    return f"/v1/benches/{part(bench_id)}"


def _work(bench_id: str, measurement_id: str) -> str:
    return f"{_bench(bench_id)}/measurements/{part(measurement_id)}"
