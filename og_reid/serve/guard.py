"""Checks of every request before it is answered, limits of its body, log line and metrics."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import math
import secrets
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from ..files.printable import printable
from .metrics import ClientRates, Metrics
from .settings import ServeSettings, is_loopback

__all__ = ["LOG", "OPEN_PATHS", "Guard"]

#: Logger of requests, one JSON line each; without images, names of files, labels and tokens.
LOG = logging.getLogger("og_reid.serve")
#: Paths that need no token: the page, which asks for it, its parts, and the sign of life.
OPEN_PATHS = frozenset({"/", "/page.css", "/page.js", "/health", "/openapi.json"})

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}
_JSON_BYTES = 1 << 16  # of a body without images
_FORM_BYTES = 1 << 17  # of a form beside its images
_DRAINED = 64 << 20
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """ASGI application around another one.

    Args:
        app: The application.
        settings: Token and limits.
        metrics: Counters.
        policy: Content-Security-Policy of all answers.
    """

    def __init__(
        self, app: Application, settings: ServeSettings, metrics: Metrics, policy: str
    ) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._rates = ClientRates(settings.requests_per_minute)
        self._headers = [
            (name.encode(), value.encode())
            for name, value in {**_HEADERS, "content-security-policy": policy}.items()
        ]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        start, number = time.perf_counter(), secrets.token_hex(6)
        seen: dict[str, Any] = {"status": 500, "received": 0, "started": False}
        scope["og_reid"] = seen  # handlers note the reason of a refusal in it

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"], seen["started"] = message["status"], True
                added = [*self._headers, (b"x-request-id", number.encode())]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        self._metrics.running += 1
        try:
            await self._answer(scope, receive, sending, seen)
        except Exception:
            seen["error"] = _described(sys.exc_info()[1])
            if not seen["started"]:
                await _reply(sending, 500, f"unexpected error, request {number}")
        finally:
            self._metrics.running -= 1
            self._note(scope, seen, number, time.perf_counter() - start)

    async def _answer(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send, seen: dict[str, Any]
    ) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1")
                   for name, value in scope["headers"]}  # fmt: skip
        most = self._largest_body(scope["path"])
        refusal = self._refusal(scope, headers, most)
        if refusal is not None:
            status, reason, more = refusal
            seen["reason"] = reason
            await _drain(receive, min(self._settings.body_seconds, 2.0))
            await _reply(send, status, reason, more)
            return
        ends = time.monotonic() + self._settings.body_seconds * (1 + most / (64 << 20))
        whole = False

        async def receiving() -> Message:
            nonlocal whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout(max(0.0, ends - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408, "the body takes too long", {"connection": "close"}
                ) from None
            if message["type"] == "http.request":
                whole = not message.get("more_body", False)
                seen["received"] += len(message.get("body", b""))
                if seen["received"] > most:
                    await _drain(receive, min(self._settings.body_seconds, 2.0))
                    raise HTTPException(413, _too_large(most), {"connection": "close"})
            return message

        await self._app(scope, receiving, send)

    def _largest_body(self, path: str) -> int:
        if path == "/items":
            return self._settings.max_batch_bytes + _FORM_BYTES
        if path in ("/search", "/person", "/view"):
            return self._settings.max_image_bytes + _FORM_BYTES
        return _JSON_BYTES

    def _refusal(
        self, scope: MutableMapping[str, Any], headers: dict[str, str], most: int
    ) -> tuple[int, str, dict[str, str]] | None:
        """Status, reason and further headers of a request that is refused by its header."""
        closing = {"connection": "close"}
        wait = self._rates.wait(_client(scope))
        if wait:
            return 429, "too many requests", {"retry-after": str(math.ceil(wait)), **closing}
        host = urlsplit(f"//{headers.get('host', '')}")
        with suppress(ValueError):
            if self._settings.token is None and not is_loopback(host.hostname or ""):
                # A foreign name that leads to this machine: a page elsewhere asks by it.
                return 400, "host must be that of this machine", closing
        origin = headers.get("origin")
        if scope["method"] not in ("GET", "HEAD") and origin is not None:
            if origin == "null" or urlsplit(origin).netloc != headers.get("host"):
                return 403, "requests of pages of other origins are refused", closing
        if scope["path"] not in OPEN_PATHS and not self._has_token(headers):
            return 401, "a token is needed: Authorization: Bearer TOKEN", {
                "www-authenticate": 'Bearer realm="og-reid"', **closing
            }  # fmt: skip
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length[:20]) > most:
            return 413, _too_large(most), closing
        return None

    def _has_token(self, headers: dict[str, str]) -> bool:
        if self._settings.token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode(), self._settings.token.encode())
        return same and kind.lower() == "bearer"

    def _note(
        self, scope: MutableMapping[str, Any], seen: dict[str, Any], number: str, seconds: float
    ) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.count(route, method, seen["status"], seconds)
        line = {
            "time": round(time.time(), 3), "request": number, "client": _client(scope),
            "method": method, "route": route, "status": seen["status"],
            "milliseconds": round(1000 * seconds, 1), "received": seen["received"],
        }  # fmt: skip
        for name in ("reason", "error"):
            if name in seen:
                line[name] = printable(seen[name])[:2000]
        level = logging.INFO if seen["status"] < 400 else logging.WARNING
        LOG.log(logging.ERROR if seen["status"] >= 500 else level, json.dumps(line))


def _client(scope: MutableMapping[str, Any]) -> str:
    return scope["client"][0] if scope.get("client") else "unknown"


def _too_large(most: int) -> str:
    return f"the body must have at most {most / 1e6:.1f} MB"


def _described(error: BaseException | None) -> str:
    """Type and place of an error, without values."""
    frames = traceback.extract_tb(error.__traceback__ if error else None)[-3:]
    places = ", ".join(f"{each.filename.rsplit('/', 1)[-1]}:{each.lineno}" for each in frames)
    return f"{type(error).__name__} in {places}"


async def _drain(receive: Receive, seconds: float) -> None:
    """Reads the rest of a body, for clients that read the answer only after it."""
    count = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while count < _DRAINED:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                count += len(message.get("body", b""))


async def _reply(send: Send, status: int, reason: str, more: dict[str, str] | None = None) -> None:
    body = json.dumps({"detail": reason}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **(more or {})}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
