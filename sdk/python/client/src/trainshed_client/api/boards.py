"""Microcontroller boards: look, check a model, run it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from trainshed_client.api.group import Group, pages, part
from trainshed_client.decode import decode
from trainshed_client.models import Job
from trainshed_client.models_boards import Board, ModelCheck

MODEL = "model.tflite"
CALIBRATION = "calibration.npz"


class Boards(Group):
    """The boards of the server. A run costs one of the account's ``board_run``."""

    def list(self, *, limit: int | None = None) -> AsyncIterator[Board]:
        """Yield the boards, at most ``limit``."""
        return pages(self._transport, Board, "/v1/boards", limit=limit, sized=False)

    async def get(self, name: str) -> Board:
        """Return one board."""
        return decode(Board, await self._transport.call("GET", f"/v1/boards/{part(name)}"))

    async def check(self, name: str, upload_id: str, *, quantize: bool = False) -> ModelCheck:
        """Say whether an uploaded ``.tflite`` file can run on a board; costs no run."""
        body = {"upload_id": upload_id, "quantize": quantize}
        path = f"/v1/boards/{part(name)}/check"
        answer = await self._transport.call("POST", path, body=body, idempotent=True)
        return decode(ModelCheck, answer)

    async def run(
        self,
        name: str,
        upload_id: str,
        *,
        quantize: bool = False,
        calibration_id: str | None = None,
        bench: bool = False,
        job_name: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Submit an uploaded model for a board, as a Job whose files are its artifacts.

        Args:
            name: The board.
            upload_id: The model.
            quantize: Whether to make it int8 first.
            calibration_id: An uploaded ``.npz`` for that; without one a set is made up.
            bench: Whether a real board that is attached measures it; see ``Board.benches``.
            job_name: What the Job is called.
            idempotency_key: Makes the submission safe across runs of a script.

        Raises:
            PaymentRequired: no run is left.
        """
        inputs = [{"source": "upload", "ref": upload_id, "path": MODEL}]
        params: dict[str, Any] = {"board": name, "model": MODEL, "quantize": quantize}
        if bench:
            params["bench"] = True
        if calibration_id is not None:
            inputs.append({"source": "upload", "ref": calibration_id, "path": CALIBRATION})
            params["calibration"] = CALIBRATION
        body: dict[str, Any] = {"workload": "board", "params": params, "inputs": inputs}
        if job_name is not None:
            body["name"] = job_name
        answer = await self._transport.call(
            "POST", "/v1/jobs", body=body, creates=True, key=idempotency_key
        )
        return decode(Job, answer)
