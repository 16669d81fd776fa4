"""The MIMaaS door, at its prefix and at the addresses that its clients know."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from trainshed.dialects.mimaas import errors, schema, translate
from trainshed.dialects.mimaas.forms import Form, read_form
from trainshed.dialects.mimaas.translate import DIALECT
from trainshed.domain.errors import NotFound
from trainshed.http import files
from trainshed.http.guards import PUBLIC, READ, WRITE, Alias, Door, Route
from trainshed.http.hall import Call, Called
from trainshed.usecases import accounts, board_requests, boards, downloads, grants, keys, numbers
from trainshed.usecases import login as people_in
from trainshed.usecases.board_requests import Outcomes, Wanted

PREFIX = "/mimaas"
LITERALS = ("/api/boards", "/api/requests", "/api/validate", "/api/plans")
#: Here a browser may be on its way to a page.
SHARED = ("/login", "/register", "/me")

Id = Annotated[str, Path(max_length=64)]
Name = Annotated[str, Path(max_length=64)]
Filter = Annotated[str | None, Query(max_length=64)]


def login(call: Called, body: schema.LoginBody) -> schema.Token:
    """Log in; the token goes into ``Authorization`` as it is."""
    hall, address = call.hall, call.origin.address
    who = people_in.proven(call.deps, hall.throttle, body.username, body.password, address)
    return schema.Token(api_token=keys.for_login(call.deps, *who))


def register(call: Called, body: schema.RegisterBody) -> schema.Token:
    """Make an account on a plan that costs nothing, and log in."""
    wanted = people_in.Newcomer(
        body.username, body.password, body.plan, body.email, body.first_name, body.surname
    )
    who = people_in.sign_up(call.deps, call.hall.throttle, wanted, call.origin.address)
    return schema.Token(api_token=keys.for_login(call.deps, *who))


def me(call: Called) -> schema.Me:
    """Show who is calling, and how many runs are left."""
    deps, who = call.deps, call.principal
    user, account = people_in.whoami(deps, who)
    number = numbers.number_of(deps, DIALECT, "user", user.id, user.account_id)
    plan = grants.plan_of(deps.policy, account.account)
    return translate.to_me(user, number, plan, accounts.balances(deps, who))


def list_boards(call: Called) -> schema.Boards:
    """List the boards, and how many Jobs could begin on each now."""
    return schema.Boards(boards=[translate.to_board(v) for v in boards.listing(call.deps)])


def get_board(call: Called, name: Name) -> schema.Board:
    """Show a board."""
    return translate.to_board(boards.get(call.deps, name))


def get_board_status(call: Called, name: Name) -> schema.BoardStatus:
    """Say how busy a board is."""
    return translate.to_status(boards.get(call.deps, name))


def list_plans(call: Called) -> schema.Plans:
    """List the plans."""
    plans = enumerate(call.deps.policy.board_plans, 1)
    return schema.Plans(plans=[translate.to_plan(n, p) for n, p in plans])


async def validate(request: Request) -> Response:
    """Say whether a model can run on a board; costs no run."""

    def check(call: Call, form: Form) -> schema.Validation:
        board, quantize = form.need("board"), translate.quantize_of(form.fields.get("quantize", ""))
        report = boards.check(call.deps, call.principal, board, form.model, quantize)
        return translate.to_validation(report)

    return await _with_form(request, check, 200)


async def create_request(request: Request) -> Response:
    """Send a model for a board."""

    def make(call: Call, form: Form) -> schema.Request:
        board, quantize = form.need("board"), translate.quantize_of(form.fields.get("quantize", ""))
        wanted = Wanted(
            call.principal, board, form.filename, form.model, quantize, DIALECT, form.calibration
        )
        return translate.to_request(board_requests.create(call.deps, wanted))

    return await _with_form(request, make, 201)


async def _with_form(request: Request, work: Any, status: int) -> Response:
    """Answer with what ``work`` makes of the request's form, in a thread."""
    call: Call = request.state.call
    form = await read_form(request, call.hall.settings.max_body_bytes)
    with call.hall.admission.working():
        made = await run_in_threadpool(work, call, form)
    return Response(made.model_dump_json(), status, media_type="application/json")


class Requests:
    """The routes that show what became of requests, with what ended runs have said."""

    def __init__(self) -> None:
        self._outcomes = Outcomes()

    def list_requests(
        self, call: Called, status: Filter = None, board: Filter = None
    ) -> list[schema.Request]:
        """List the newest requests, newest first."""
        found = board_requests.listing(call.deps, call.principal, self._outcomes, DIALECT, board)
        shown = [translate.to_request(view) for view in found]
        return [one for one in shown if status in (None, "", one.status)]

    def get_request(self, call: Called, request_id: Id) -> schema.Request:
        """Show a request."""
        number = translate.number_of(request_id)
        found = board_requests.get(call.deps, call.principal, self._outcomes, DIALECT, number)
        return translate.to_request(found)


def delete_request(call: Called, request_id: Id) -> None:
    """Remove a request; one that is not done yet is cancelled."""
    number = translate.number_of(request_id)
    board_requests.delete(call.deps, call.principal, DIALECT, number)


async def get_artifact(request: Request) -> Response:
    """Give a file that a request left, or all of them as a zip."""
    call: Call = request.state.call
    number = translate.number_of(request.path_params["request_id"])
    kind = request.path_params["kind"]
    content = await run_in_threadpool(_artifact, call, number, kind)
    return await files.answer(request, call.deps, content)


def _artifact(call: Call, number: int, kind: str) -> downloads.Content:
    job = board_requests.done(call.deps, call.principal, DIALECT, number)
    if kind not in translate.ARTIFACTS:
        known = ", ".join(translate.ARTIFACTS)
        raise NotFound(f"There is no such artifact; there is: {known}.")
    return downloads.content_of(call.deps, call.principal, job.id, translate.ARTIFACTS[kind])


def program(headers: Headers) -> bool:
    """Whether a request to an address that pages may have too comes from a program."""
    return "text/html" not in headers.get("accept", "")


def _form_of(*fields: str, files: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what OpenAPI says of a form."""
    properties: dict[str, Any] = {name: {"type": "string"} for name in fields}
    properties["network"] = {"type": "string", "format": "binary"}
    properties.update({name: {"type": "string", "format": "binary"} for name in files})
    shape = {"type": "object", "required": ["network", "board"], "properties": properties}
    content = {"multipart/form-data": {"schema": shape}}
    return {"requestBody": {"required": True, "content": content}}


SMALL = schema.SMALL_BYTES
LIST, ONE = "/api/requests", "/api/requests/{request_id}"
_CHECK = {"summary": "Say whether a model can run on a board.", **_form_of("board", "quantize")}
_SEND = {
    "summary": "Send a model for a board.",
    **_form_of("board", "quantize", files=("calibration",)),
}
_FILE = {
    "summary": "Give a file that a request left, or all of them as a zip.",
    "responses": {
        "200": {
            "description": "The bytes",
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
        }
    },
}


def door() -> Door:
    """Return the door, ready to be given to ``create_app``."""
    seen = Requests()
    routes = [
        Route("POST", "/login", login, PUBLIC, body_limit=SMALL),
        Route("POST", "/register", register, PUBLIC, 201, body_limit=SMALL),
        Route("GET", "/me", me, READ),
        Route("GET", "/api/boards", list_boards, PUBLIC),
        Route("GET", "/api/boards/{name}", get_board, PUBLIC),
        Route("GET", "/api/boards/{name}/status", get_board_status, PUBLIC),
        Route("GET", "/api/plans", list_plans, PUBLIC),
        Route("POST", "/api/validate", validate, WRITE, raw=True, document=_CHECK),
        Route("POST", f"{LIST}/", create_request, WRITE, 201, raw=True, document=_SEND),
        Route("POST", LIST, create_request, WRITE, 201, raw=True, hidden=True),
        Route("GET", f"{LIST}/", seen.list_requests, READ),
        Route("GET", LIST, seen.list_requests, READ, hidden=True),
        Route("GET", ONE, seen.get_request, READ),
        Route("DELETE", ONE, delete_request, WRITE, 204, body_limit=SMALL),
        Route("GET", f"{ONE}/artifacts/{{kind}}", get_artifact, READ, raw=True, document=_FILE),
    ]
    return Door(
        DIALECT, PREFIX, routes, "MIMaaS: models on microcontroller boards", errors.render,
        f"{PREFIX}/openapi.json",
        aliases=[
            *(Alias(path, path) for path in LITERALS),
            *(Alias(path, path, claims=program) for path in SHARED),
        ],
        strict=False, error=errors.DESCRIPTION,
    )  # fmt: skip
