"""Server of the application: listening, timeouts of headers, graceful stop, log."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..inference.encoder import Encoder
from ..inference.pretrained import DEFAULT_MODEL
from .app import create_app
from .guard import LOG
from .service import GalleryService
from .settings import ServeSettings

__all__ = ["run_server", "server_of"]

_CONNECTIONS = 512
_HEADER_BYTES = 32 << 10
# Before a request is known, no application answers.
_LATE = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _Protocol(H11Protocol):
    """HTTP with a time limit of each header."""

    header_seconds = 30.0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._late = self.loop.call_later(self.header_seconds, self._end)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _end(self) -> None:
        if self.cycle is not None or self.transport.is_closing():
            return
        line = {
            "time": round(time.time(), 3), "client": self.client[0] if self.client else "unknown",
            "status": 408, "milliseconds": round(1000.0 * self.header_seconds, 1),
            "reason": "the header takes too long",
        }  # fmt: skip
        LOG.warning(json.dumps(line))
        self.transport.write(_LATE)
        self.transport.close()


class _Server(uvicorn.Server):
    """Server whose long jobs end early when it is asked to stop."""

    service: GalleryService

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.service.stopping.set()
        super().handle_exit(sig, frame)


def server_of(service: GalleryService) -> uvicorn.Server:
    """Server of a gallery; ``run`` listens until it is asked to stop.

    Args:
        service: The gallery.
    """
    settings = service.settings
    protocol = type("Protocol", (_Protocol,), {"header_seconds": settings.body_seconds})
    config = uvicorn.Config(
        create_app(service), host=settings.host, port=settings.port, http=protocol, ws="none",
        lifespan="on", log_config=None, access_log=False, server_header=False, date_header=True,
        proxy_headers=False, limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=_HEADER_BYTES, timeout_keep_alive=15,
        timeout_graceful_shutdown=int(settings.stop_seconds) or 1,
    )  # fmt: skip
    server = _Server(config)
    server.service = service
    return server


def run_server(
    gallery: str | Path,
    settings: ServeSettings,
    model: str | Path | Encoder = DEFAULT_MODEL,
) -> None:
    """Serves a gallery until the process is asked to stop (interrupt, SIGTERM).

    Args:
        gallery: Folder of the gallery.
        settings: Address, token, limits.
        model: As for `og_reid.Gallery`.

    Raises:
        ValueError: The folder holds other files, or another process writes.
        OSError: The address is in use.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    try:
        server = server_of(GalleryService(gallery, model, settings))
        server.run()
        if not server.started:
            raise OSError(f"the service did not start on {settings.host}:{settings.port}")
    finally:
        LOG.removeHandler(handler)
