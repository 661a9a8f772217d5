"""Application of the service: its routes, their errors, and the description by OpenAPI."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException as AnyHTTPException

from pose import NoPersonError

from ..files.printable import printable
from ..viz.style import page_style
from ..viz.viewer import viewer_script_hash
from . import messages
from .decoding import UndecodableImageError
from .guard import Guard
from .jobs import enrol_stages, measure_stages
from .messages import EnrolOptions, ForgetRequest, SearchOptions
from .metrics import Metrics
from .process_memory import resident_bytes
from .service import EmptyGalleryError, GalleryService, OverloadedError
from .uploads import form_description, receive_form, refused_values

__all__ = ["create_app"]

T = TypeVar("T")
Per = Literal["search", "comparison"]
_STREAM = "text/event-stream"
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": messages.Problem, "description": text}
    for status, text in {
        400: "damaged request",
        401: "no token, or a wrong one",
        403: "page of another origin",
        408: "too slow",
        413: "too large",
        415: "no form",
        422: "a value or the image is refused",
        429: "too many requests",
    }.items()
}
_EMPTY: dict[int | str, dict[str, Any]] = {
    409: {"model": messages.Problem, "description": "the gallery has no items yet"}
}


class ViewOptions(BaseModel):
    """Options of the view in 3D."""

    model_config = ConfigDict(extra="forbid", strict=True)
    dark: bool = False


class NoOptions(BaseModel):
    """No options."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Json(Response):
    """JSON of ASCII characters: texts of any kind are encodable."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Bytes of a plain value."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def create_app(service: GalleryService) -> Any:
    """ASGI application that serves a gallery.

    Args:
        service: The gallery; it is started and closed with the application.

    Returns:
        The application; its ``state.service`` is the service.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.start)
        yield
        await asyncio.to_thread(service.close)

    metrics = Metrics()
    app = FastAPI(
        title="og_reid", version=_version(), lifespan=lifespan, docs_url=None, redoc_url=None,
        description="Search of a gallery of people by images.", responses=_PROBLEMS,
        default_response_class=Json, separate_input_output_schemas=False,
    )  # fmt: skip
    app.state.service = service
    _add_pages(app)
    _add_reading(app, service)
    _add_writing(app, service)
    _add_state(app, service, metrics)
    _add_errors(app, service)
    _describe(app)
    policy = (
        f"default-src 'none'; script-src 'self' {viewer_script_hash()}; "
        "style-src 'self' 'unsafe-inline'; img-src data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    app.add_middleware(Guard, settings=service.settings, metrics=metrics, policy=policy)
    return app


def _version() -> str:
    try:
        return version("og-reid")
    except PackageNotFoundError:  # from a folder without installation
        return "0"


async def _result(start: Callable[[Callable[[], T]], Future[T]], job: Callable[[], T]) -> T:
    return await asyncio.wrap_future(start(job))


def _static(name: str) -> str:
    return (files(__package__) / "static" / name).read_text(encoding="utf-8")


def _add_pages(app: FastAPI) -> None:
    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(_static("page.html"))

    @app.get("/page.css", include_in_schema=False)
    async def style() -> Response:
        return Response(page_style() + _static("page.css"), media_type="text/css")

    @app.get("/page.js", include_in_schema=False)
    async def script() -> Response:
        return Response(_static("page.js"), media_type="text/javascript")


def _add_reading(app: FastAPI, service: GalleryService) -> None:
    settings = service.settings

    @app.post(
        "/search", response_model=messages.Ranking, summary="Rank items for an image",
        responses=_EMPTY, openapi_extra=form_description(SearchOptions),
    )  # fmt: skip
    async def search(request: Request) -> Response:
        (image,), options = await receive_form(request, SearchOptions, settings)
        return Json(await _result(service.read, lambda: service.search(image.content, options)))

    @app.post(
        "/person", response_model=messages.Person, summary="Keypoints, and what is hidden",
        openapi_extra=form_description(NoOptions),
    )  # fmt: skip
    async def person(request: Request) -> Response:
        (image,), _ = await receive_form(request, NoOptions, settings)
        return Json(await _result(service.read, lambda: service.person(image.content)))

    @app.post(
        "/view", response_class=HTMLResponse, summary="Page of the point cloud in 3D",
        openapi_extra=form_description(ViewOptions),
    )  # fmt: skip
    async def view(request: Request) -> Response:
        (image,), options = await receive_form(request, ViewOptions, settings)

        def job() -> str:
            return service.view(image.content, dark=options.dark)

        return HTMLResponse(await _result(service.read, job))

    @app.get(
        "/threshold", response_model=messages.Threshold, responses=_EMPTY,
        summary="Smallest score of a match at a false-accept rate",
    )  # fmt: skip
    async def threshold(
        false_accept_rate: Annotated[float, Query(gt=0, lt=1)] = 0.01, per: Per = "search"
    ) -> Response:
        def job() -> float:
            return service.threshold(false_accept_rate, per)

        value = await _result(service.read, job)
        found = {"threshold": value, "false_accept_rate": false_accept_rate, "per": per}
        return Json({name: None if each == -float("inf") else each for name, each in found.items()})


def _add_writing(app: FastAPI, service: GalleryService) -> None:
    settings = service.settings
    streamed: dict[int | str, dict[str, Any]] = {
        200: {"content": {_STREAM: {"schema": {"type": "string"}}}}
    }

    @app.post(
        "/items", response_model=messages.Enrolled, summary="Enrol images",
        description="With `Accept: text/event-stream` the answer is a stream of the events "
        "progress {done, total} and done or problem. Images of a request that is cut off stay "
        "enrolled as far as they were; the same request continues.",
        responses=streamed, openapi_extra=form_description(EnrolOptions, several=True),
    )  # fmt: skip
    async def enrol(request: Request) -> Response:
        images, options = await receive_form(
            request, EnrolOptions, settings, most=settings.max_batch_images
        )
        stages = enrol_stages(service, [(each.content, each.name) for each in images], options)
        return await _answer(request, service, stages)

    @app.post("/forget", response_model=messages.Forgotten,
              summary="Remove items and all their bytes")  # fmt: skip
    async def forget(wanted: ForgetRequest) -> Response:
        return Json({"forgotten": await _result(service.write, lambda: service.forget(wanted))})

    @app.post(
        "/build", response_model=messages.Stats, responses={**_EMPTY, **streamed},
        summary="Measure candidates and thresholds",
        description="With `Accept: text/event-stream` as a stream of events, as for /items.",
    )  # fmt: skip
    async def build(request: Request) -> Response:
        return await _answer(request, service, measure_stages(service))


async def _answer(
    request: Request, service: GalleryService, stages: AsyncIterator[Any]
) -> Response:
    """Outcome of a long job, or its events as a stream."""
    if _STREAM not in request.headers.get("accept", ""):
        outcome: Any = None
        async for name, value in stages:
            outcome = value if name == "done" else outcome
        return Json(outcome)
    first = await anext(stages)  # errors of the arguments are answers with their status

    async def events() -> AsyncIterator[str]:
        yield _event(*first)
        try:
            async for name, value in stages:
                yield _event(name, value)
        except Exception as error:
            status, reason = problem(service, error)
            request.scope["og_reid"]["reason"] = reason
            yield _event("problem", {"detail": reason, "status": status})

    return StreamingResponse(events(), media_type=_STREAM)


def _event(name: str, value: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(value, allow_nan=False)}\n\n"


def _add_state(app: FastAPI, service: GalleryService, metrics: Metrics) -> None:
    @app.get("/stats", response_model=messages.Stats, summary="Numbers of the gallery")
    async def stats() -> Response:
        return Json(await _result(service.read, service.stats))

    @app.get("/health", response_model=messages.Health, summary="Sign of life")
    async def health() -> Response:
        stopping = service.stopping.is_set()
        return Json({"status": "stopping" if stopping else "ok", "version": app.version})

    @app.get("/metrics", response_class=PlainTextResponse, summary="Counters for Prometheus")
    async def counters() -> Response:
        gauges = {
            "og_reid_items": ("Items of the gallery.", float(len(service.gallery))),
            "og_reid_jobs_waiting": ("Jobs that run or wait.", float(service.waiting)),
            "og_reid_decoders_lost": ("Decoders ended by a limit.", float(service.decoder.lost)),
            "og_reid_resident_bytes": ("Memory of the process.", float(resident_bytes())),
        }
        return PlainTextResponse(
            metrics.text(gauges), media_type="text/plain; version=0.0.4; charset=utf-8"
        )


def problem(service: GalleryService, error: Exception) -> tuple[int, str]:
    """Status code and reason for an error of a job; 500 for an unexpected one.

    Args:
        service: The gallery.
        error: The error.
    """
    if isinstance(error, UndecodableImageError):
        return error.status, printable(error)
    if isinstance(error, EmptyGalleryError):
        return 409, str(error)
    if isinstance(error, OverloadedError):
        return 429, str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return 507, "the disk is full: nothing has changed"
    if isinstance(error, NoPersonError | ImportError | OverflowError | RecursionError | ValueError):
        return 422, printable(service.plain(error))[:1000]
    return 500, f"unexpected error: {type(error).__name__}"


def _add_errors(app: FastAPI, service: GalleryService) -> None:
    def answer(request: Request, status: int, reason: str, headers: Any = None) -> Response:
        request.scope["og_reid"]["reason"] = reason
        return Json({"detail": reason}, status, headers)

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, AnyHTTPException)
        return answer(request, error.status_code, str(error.detail), error.headers)

    async def of_values(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(request, 422, printable(refused_values(error.errors())))

    async def of_jobs(request: Request, error: Exception) -> Response:
        status, reason = problem(service, error)
        if status == 500:
            raise error
        more = {"retry-after": "1"} if status == 429 else None
        return answer(request, status, reason, more)

    app.add_exception_handler(AnyHTTPException, of_http)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_values)
    for kind in (ValueError, OSError, OverflowError, RecursionError, ImportError, RuntimeError):
        app.add_exception_handler(kind, of_jobs)


def _describe(app: FastAPI) -> None:
    """Options of forms as components of the description, and its security."""
    kinds = (SearchOptions, EnrolOptions, ViewOptions, NoOptions)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title, version=app.version, description=app.description,
                routes=app.routes, separate_input_output_schemas=False,
            )  # fmt: skip
            schemas = found.setdefault("components", {}).setdefault("schemas", {})
            for kind in kinds:
                made = kind.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas |= made.pop("$defs", {})
                schemas[kind.__name__] = made
            scheme = {"type": "http", "scheme": "bearer"}
            found["components"]["securitySchemes"] = {"token": scheme}
            found["security"] = [{"token": []}, {}]
            app.openapi_schema = found
        return app.openapi_schema

    vars(app)["openapi"] = openapi
