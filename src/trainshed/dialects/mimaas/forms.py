"""The multipart forms of this door: a file ``network``, for a quantisation a file
``calibration``, and a few short fields, all bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from trainshed.domain.errors import InvalidInput
from trainshed.http.entry import read_body
from trainshed.http.errors import UnsupportedMediaType

MAX_FIELDS = 8
MAX_FIELD_BYTES = 1024
#: What the form around a file may take.
AROUND_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Form:
    """A model and what is asked of it."""

    filename: str
    model: bytes = field(repr=False)
    fields: dict[str, str]
    calibration: bytes | None = field(default=None, repr=False)

    def need(self, name: str) -> str:
        """Return a field.

        Raises:
            InvalidInput: it is not there.
        """
        if not self.fields.get(name):
            raise InvalidInput(f"The form must have the field {name!r}.", field=name)
        return self.fields[name]


async def read_form(request: Request, limit: int) -> Form:
    """Return the form of a request, whose file may have about ``limit`` bytes.

    Raises:
        InvalidInput: no such form, or not one file ``network``. TooLarge. UnsupportedMediaType.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data" or "content-encoding" in request.headers:
        raise UnsupportedMediaType("Send a form (multipart/form-data) with the file 'network'.")
    body = await read_body(request, limit + AROUND_BYTES)

    async def whole() -> AsyncIterator[bytes]:
        yield body

    parser = MultiPartParser(
        request.headers, whole(),  # type: ignore[arg-type]
        max_files=2, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES,
    )  # fmt: skip
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, KeyError) as error:
        raise InvalidInput(
            "The form could not be read: at most two files and a few fields."
        ) from error
    try:
        files = [name for name, value in form.multi_items() if isinstance(value, UploadFile)]
        if len(set(files)) != len(files) or not {*files} <= {"network", "calibration"}:
            raise InvalidInput("The files of the form are 'network' and 'calibration', each once.")
        file, calibration = form.get("network"), form.get("calibration")
        if not isinstance(file, UploadFile):
            raise InvalidInput("Send the model as the file 'network'.", field="network")
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        samples = await calibration.read() if isinstance(calibration, UploadFile) else None
        return Form(file.filename or "", await file.read(), fields, samples)
    finally:
        await form.close()
