"""``MIMaaSClient``: the whole API as one object."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from mimaas.auth import save_token
from mimaas.config import Config
from mimaas.exceptions import MIMaaSError, NetworkError, ProcessingError, TimeoutError
from mimaas.files import landing
from mimaas.models import Board, Plan, Request, Results, User, value
from mimaas.transport import Transport

_FIRST_POLL_S = 0.25
_BYTES = "application/octet-stream"


class MIMaaSClient:
    """Talks to one MIMaaS server. Arguments that are not given are looked up: see ``config``.

    Args:
        api_url: The server's address.
        api_token: The token; ``login`` gets one.
        token_file: Where ``login`` keeps the token, ``~/.mimaas/token`` if None.
        timeout: Seconds to wait for an answer.
        verify_ssl: Whether to check the server's certificate.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    def __init__(
        self,
        api_url: str | None = None,
        api_token: str | None = None,
        token_file: str | Path | None = None,
        timeout: float | None = None,
        verify_ssl: bool = True,
    ) -> None:
        self.config = Config(api_url, api_token, token_file, timeout, verify_ssl)
        self._transport = Transport(self.config)

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MIMaaSClient(api_url={self.config.api_url!r})"

    # The account

    def login(self, username: str, password: str, save: bool = True) -> str:
        """Return a token for the account, use it from now on, and keep it if ``save``.

        Raises:
            AuthenticationError: the name or the password is wrong.
        """
        body = {"username": username, "password": password}
        return self._enter(self._transport.call("POST", "/login", body=body), save)

    def register(
        self,
        username: str,
        email: str,
        first_name: str,
        surname: str,
        password: str,
        plan: str = "free",
        save: bool = True,
    ) -> str:
        """Make an account and return its token, as ``login`` does.

        Raises:
            ValidationError: the name is taken, or there is no such plan.
        """
        body = {
            "username": username,
            "email": email,
            "first_name": first_name,
            "surname": surname,
            "password": password,
            "plan": plan,
        }
        return self._enter(self._transport.call("POST", "/register", body=body), save)

    def _enter(self, answer: Any, save: bool) -> str:
        token: str = value(answer, "api_token", str)
        self.config.api_token = token
        if save:
            save_token(token, self.config.token_file)
        return token

    def get_profile(self) -> User:
        """Return who is logged in, with the runs that are left."""
        return User.from_dict(self._get("/me"))

    def list_plans(self) -> list[Plan]:
        """Return the plans on offer."""
        answer = self._transport.call("GET", "/api/plans")
        return [Plan.from_dict(plan) for plan in value(answer, "plans", list)]

    # Boards

    def list_boards(self) -> list[Board]:
        """Return the boards that models can run on."""
        answer = self._transport.call("GET", "/api/boards")
        return [Board.from_dict(board) for board in value(answer, "boards", list)]

    def get_board(self, board_name: str) -> Board:
        """Return one board.

        Raises:
            ResourceNotFoundError: there is no such board.
        """
        return Board.from_dict(self._transport.call("GET", _at("/api/boards", board_name)))

    def get_board_status(self, board_name: str) -> dict[str, Any]:
        """Return how busy a board is, as the server tells it.

        Raises:
            ResourceNotFoundError: there is no such board.
        """
        answer = self._transport.call("GET", f"{_at('/api/boards', board_name)}/status")
        return _mapping(answer)

    # Requests

    def validate_model(self, model_path: str | Path, board: str) -> dict[str, Any]:
        """Return ``valid``, ``errors`` and ``warnings`` of a model on a board. Takes no run.

        Raises:
            FileNotFoundError: there is no such file.
        """
        return _mapping(self._send("/api/validate", model_path, {"board": board}))

    def submit_request(
        self, model_path: str | Path, board: str, quantize: bool = False,
        calibration: str | Path | None = None,
    ) -> Request:  # fmt: skip
        """Submit a model for a board; it takes a run. Never sent twice.

        Args:
            model_path: The ``.tflite`` file.
            board: The name of the board, such as ``nrf5340dk``.
            quantize: Whether to make a float model int8 first.
            calibration: An ``.npz`` with samples of each input, for ``quantize``; without it the
                server makes samples up.

        Raises:
            FileNotFoundError: there is no such file.
            ValidationError: the model or the board is refused; no run is taken.
            QuotaExceededError: no runs are left.
        """
        form = {"board": board, "quantize": "true" if quantize else "false"}
        return Request.from_dict(self._send("/api/requests/", model_path, form, calibration))

    def _send(
        self, path: str, model_path: str | Path, form: dict[str, str],
        calibration: str | Path | None = None,
    ) -> Any:  # fmt: skip
        source = Path(model_path)
        if not source.is_file():
            raise FileNotFoundError(f"Model file not found: {model_path}")
        samples = Path(calibration) if calibration is not None else None
        if samples is not None and not samples.is_file():
            raise FileNotFoundError(f"Calibration file not found: {calibration}")
        with contextlib.ExitStack() as opened:
            given = {"network": source} | ({"calibration": samples} if samples else {})
            files = {
                name: (place.name, opened.enter_context(place.open("rb")), _BYTES)
                for name, place in given.items()
            }
            return self._transport.call("POST", path, with_token=True, form=form, files=files)

    def get_request(self, request_id: int) -> Request:
        """Return one request.

        Raises:
            ResourceNotFoundError: there is no such request of this account.
        """
        return Request.from_dict(self._get(_at("/api/requests", request_id)))

    def list_requests(self, status: str | None = None, board: str | None = None) -> list[Request]:
        """Return the account's requests, of one status or board if given."""
        given = {"status": status, "board": board}
        answer = self._get("/api/requests/", {k: v for k, v in given.items() if v})
        if not isinstance(answer, list):
            raise NetworkError("The server sent no list where one was expected.")
        return [Request.from_dict(item) for item in answer]

    def delete_request(self, request_id: int) -> bool:
        """Delete a request, which is cancelled if it has not ended. Return True.

        Raises:
            ResourceNotFoundError: there is no such request of this account.
        """
        self._transport.call("DELETE", _at("/api/requests", request_id), with_token=True)
        return True

    def wait_for_completion(
        self, request_id: int, timeout: float = 600, poll_interval: float = 5
    ) -> Results:
        """Wait until a request has ended and return its results.

        Args:
            request_id: The request.
            timeout: Seconds to wait at most.
            poll_interval: Seconds between two looks; the first ones come sooner.

        Raises:
            ProcessingError: it ended without results; the text says why.
            TimeoutError: it has not ended in time. It goes on.
        """
        end = time.monotonic() + timeout
        pause = min(_FIRST_POLL_S, poll_interval)
        while True:
            request = self.get_request(request_id)
            if request.results and request.is_successful:
                return request.results
            if request.is_successful:
                raise ProcessingError(message="Request completed but no results available")
            if request.has_error:
                raise ProcessingError(message=request.error_message or "Unknown error")
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(
                    f"Request {request_id} did not complete within {timeout} s"
                    f" (status: {request.status})"
                )
            self._transport.sleep(min(pause, left))
            pause = min(pause * 2, poll_interval)

    # What a request leaves

    def get_report(self, request_id: int) -> dict[str, Any]:
        """Return how the figures came about: each with its source and error band, and more.

        ``report["figures"]["duration_avg_s"]`` has ``value``, ``unit``, ``source`` (``measured``,
        ``emulated`` or ``estimated``) and ``band``, which is relative: 0.15 is ± 15 %.

        Raises:
            ResourceNotFoundError: there is none, or not yet.
        """
        return _mapping(self._get(f"{_at('/api/requests', request_id)}/artifacts/report"))

    def download_layers(
        self, request_id: int, output_path: str | Path, use_server_folder: bool = False
    ) -> None:
        """Save ``layers.json``, what each layer takes. See ``download``."""
        self.download(request_id, "layers", output_path, use_server_folder)

    def download_ram_report(
        self, request_id: int, output_path: str | Path, use_server_folder: bool = False
    ) -> None:
        """Save ``ram.json``, the tree of what takes RAM. See ``download``."""
        self.download(request_id, "ram_report", output_path, use_server_folder)

    def download_rom_report(
        self, request_id: int, output_path: str | Path, use_server_folder: bool = False
    ) -> None:
        """Save ``rom.json``, the tree of what takes flash. See ``download``."""
        self.download(request_id, "rom_report", output_path, use_server_folder)

    def download_power_summary(
        self, request_id: int, output_path: str | Path, use_server_folder: bool = False
    ) -> None:
        """Save ``ppk2_summary.csv``, one row an inference. See ``download``."""
        self.download(request_id, "power_summary", output_path, use_server_folder)

    def download_power_samples(
        self, request_id: int, output_path: str | Path, use_server_folder: bool = False
    ) -> None:
        """Save ``ppk2_samples.csv``, the current over time. See ``download``."""
        self.download(request_id, "power_samples", output_path, use_server_folder)

    def download_model(
        self, request_id: int, output_path: str | Path, use_server_folder: bool = False
    ) -> None:
        """Save the model that was submitted. See ``download``."""
        self.download(request_id, "model", output_path, use_server_folder)

    def download_all_artifacts(
        self, request_id: int, output_path: str | Path, use_server_folder: bool = False
    ) -> None:
        """Save everything as one zip, which is not unpacked. See ``download``."""
        self.download(request_id, "all", output_path, use_server_folder)

    def download(
        self,
        request_id: int,
        artifact: str,
        output_path: str | Path,
        use_server_folder: bool = False,
    ) -> None:
        """Save one artifact of a request. The file takes its name only when it is whole.

        Args:
            request_id: The request.
            artifact: What to save: ``ram_report`` and the others above, ``report``, ``layers``,
                ``firmware``, ``sources`` or ``quantized_model``.
            output_path: The file to write; folders that are missing are made.
            use_server_folder: Whether to write to ``downloads/<the request's folder>/`` beside
                ``output_path``, under the same file name.

        Raises:
            ResourceNotFoundError: there is no such artifact, or not yet.
            MIMaaSError: the server names a folder that leads elsewhere; nothing is written.
        """
        place = Path(output_path)
        if use_server_folder:
            place = _in_server_folder(place, self.get_request(request_id).folder_name)

        def write(chunks: Iterator[bytes]) -> None:
            with landing(place) as file:
                for chunk in chunks:
                    file.write(chunk)

        path = f"{_at('/api/requests', request_id)}{_at('/artifacts', artifact)}"
        self._transport.download(path, write)

    def _get(self, path: str, params: dict[str, str] | None = None) -> Any:
        return self._transport.call("GET", path, with_token=True, params=params)


def _at(family: str, identity: str | int) -> str:
    """Return the path of one object; a name can never lead to another route."""
    text = str(identity)
    if text in ("", ".", ".."):
        raise MIMaaSError(f"{text!r} names nothing.")
    return f"{family}/{quote(text, safe='')}"


def _mapping(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise NetworkError("The server sent no object where one was expected.")
    return answer


def _in_server_folder(place: Path, folder: str | None) -> Path:
    """Return ``place`` moved into the folder that the server names, if it names one."""
    if not folder:
        return place
    unsafe = folder in (".", "..") or PurePath(folder).name != folder or len(folder) > 255
    if unsafe or any(c in "/\\:" or not c.isprintable() for c in folder):
        raise MIMaaSError(f"The server names an unsafe folder: {folder!r}. Nothing was saved.")
    return place.parent / "downloads" / folder / place.name
