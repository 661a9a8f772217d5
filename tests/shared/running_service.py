"""A service of a gallery on a free port of this machine, in a thread; images for it."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from og_reid.serve import ServeSettings
from og_reid.serve.guard import LOG
from og_reid.serve.server import server_of
from og_reid.serve.service import GalleryService
from rendered_people import one_person

TOKEN = "a-token-of-24-characters"


class Running:
    """A service that runs.

    Attributes:
        port: its port.
        client: requests to it.
        service: what it serves.
        lines: its log, one mapping a line.
    """

    def __init__(self, port: int, client: httpx.Client, service: GalleryService) -> None:
        self.port, self.client, self.service = port, client, service
        self.address = f"http://127.0.0.1:{port}"
        self.lines: list[dict[str, Any]] = []

    def post(self, path: str, content: bytes, **options: Any) -> httpx.Response:
        """Answer to one image and options."""
        return self.client.post(
            path, files={"image": ("a.png", content)}, data={"options": json.dumps(options)}
        )

    def logged(self, number: str) -> dict[str, Any]:
        """Line of a request by its number; it is written after the answer."""
        for _ in range(200):
            found = [each for each in self.lines if each.get("request") == number]
            if found:
                return found[0]
            time.sleep(0.01)
        raise AssertionError(f"no line of request {number}")


class _Lines(logging.Handler):
    def __init__(self, lines: list[dict[str, Any]]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(json.loads(record.getMessage()))


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Running]:
    """A service of a gallery in a folder, on a free port; ``settings`` of `ServeSettings`."""
    given = {"port": 0, "requests_per_minute": 1e6, **settings}
    service = GalleryService(folder, settings=ServeSettings(**given))
    server = server_of(service)
    thread = threading.Thread(target=server.run)
    thread.start()
    handler = None
    level = LOG.level
    try:
        while not server.started:
            assert thread.is_alive(), "the service does not start"
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        token = service.settings.token
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=address, timeout=120, headers=headers) as client:
            found = Running(port, client, service)
            handler = _Lines(found.lines)
            LOG.addHandler(handler)
            LOG.setLevel(logging.INFO)
            yield found
    finally:
        if handler is not None:
            LOG.removeHandler(handler)
        LOG.setLevel(level)
        server.handle_exit(15, None)
        thread.join(60)
        assert not thread.is_alive(), "the service does not stop"


def encoded(image: np.ndarray, kind: str = "PNG", **settings: Any) -> bytes:
    """File of an image."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **settings)
    return buffer.getvalue()


def person(seed: int, kind: str = "PNG", **settings: Any) -> bytes:
    """File of an image of one person."""
    return encoded(one_person(seed), kind, **settings)


def fill(service: Running, count: int = 4) -> list[str]:
    """Enrols people ``0, 1, ...`` twice, by the cameras north and south; their ids."""
    ids = []
    for camera, change in (("north", 0), ("south", 12)):
        for number in range(count):
            pixels = one_person(number).astype(int)
            image = encoded((pixels + change).clip(0, 255).astype(np.uint8))
            named = {"camera": camera, "identity": f"p{number}", "time": 1000.0 + number}
            answer = service.post("/items", image, **named)
            assert answer.status_code == 200, answer.text
            ids += answer.json()["ids"]
    return ids
