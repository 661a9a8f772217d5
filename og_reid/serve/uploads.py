"""Forms with images: read within limits, without files that have a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import HTTPException, Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

if TYPE_CHECKING:
    from .settings import ServeSettings

__all__ = ["Upload", "form_description", "receive_form", "refused_values"]

Options = TypeVar("Options", bound=BaseModel)
_OPTION_BYTES = 1 << 17
_NAME = 120


@dataclass(frozen=True, eq=False)
class Upload:
    """One uploaded image.

    Attributes:
        content: Bytes of the file.
        name: Last part of its name, shortened; never opened.
    """

    content: bytes
    name: str


async def receive_form(
    request: Request, kind: type[Options], settings: ServeSettings, *, most: int = 1
) -> tuple[list[Upload], Options]:
    """Images and options of a request.

    Args:
        request: With a body ``multipart/form-data``: fields ``image`` (files), ``options`` (JSON).
        kind: Model of the options.
        settings: Limits.
        most: Largest number of images; of more than one the files may lie in unnamed temporary
            files while they are received.

    Raises:
        HTTPException: 415 for another type of body, 400 for a damaged one, 413 for too many or too
            large images, 422 for options out of range.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise HTTPException(415, "the body must be multipart/form-data with a field image")
    parser = MultiPartParser(
        request.headers,
        request.stream(),
        max_files=most + 1,  # the options may be a file, too
        max_fields=8,
        max_part_size=_OPTION_BYTES,
    )
    if most == 1:
        parser.spool_max_size = settings.max_image_bytes + 1  # in memory
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, f"the form is damaged: {error.message[:200]}") from None
    except (KeyError, ValueError, AssertionError):
        raise HTTPException(400, "the form is damaged") from None
    try:
        return await _images(form, most, settings), await _options(form, kind)
    finally:
        await form.close()


async def _images(form: Any, most: int, settings: ServeSettings) -> list[Upload]:
    given = form.getlist("image")
    if not given or not all(isinstance(each, UploadFile) for each in given):
        raise HTTPException(422, "image must be a file; got none")
    if len(given) > most:
        raise HTTPException(413, f"image must be at most {most} files; got {len(given)}")
    found = []
    for each in given:
        if (each.size or 0) > settings.max_image_bytes:
            largest = settings.max_image_bytes / 1e6
            raise HTTPException(413, f"image must have at most {largest:.1f} MB")
        name = (each.filename or "").replace("\\", "/").rsplit("/", 1)[-1]
        found.append(Upload(await each.read(), name[-_NAME:]))
    return found


async def _options(form: Any, kind: type[Options]) -> Options:
    given = form.getlist("options")
    if len(given) > 1:
        raise HTTPException(422, "options must be given once")
    text: Any = given[0] if given else "{}"
    if isinstance(text, UploadFile):
        if (text.size or 0) > _OPTION_BYTES:
            raise HTTPException(413, f"options must have at most {_OPTION_BYTES >> 10} kB")
        text = await text.read()
    try:
        return kind.model_validate_json(text or "{}")
    except ValidationError as error:
        raise HTTPException(422, refused_values(error.errors())) from None


def refused_values(errors: Any) -> str:
    """Names of values that are refused, and the rules, without the values.

    Args:
        errors: As from pydantic.
    """
    lines = []
    for each in list(errors)[:5]:
        place = ".".join(str(part)[:60] for part in each["loc"] if part not in ("body", "query"))
        lines.append(f"{place or 'options'}: {each['msg'][:200]}")
    return "; ".join(lines)


def form_description(kind: type[BaseModel], *, several: bool = False) -> dict[str, Any]:
    """Request body of OpenAPI for `receive_form`.

    Args:
        kind: Model of the options, a component of the description by its name.
        several: True for several images.
    """
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    images: dict[str, Any] = {"type": "array", "items": file, "minItems": 1} if several else file
    options = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {"image": images, "options": options},
                        "required": ["image"],
                    },
                    "encoding": {
                        "image": {"contentType": "image/jpeg, image/png, image/webp"},
                        "options": {"contentType": "application/json"},
                    },
                }
            },
        }
    }
