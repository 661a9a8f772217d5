"""Settings of the service: address, token, limits."""

from __future__ import annotations

import ipaddress
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ServeSettings", "find_token", "is_loopback"]

#: Name of the environment variable with the token.
TOKEN_VARIABLE = "OG_REID_TOKEN"

_SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class ServeSettings:
    """Settings of the service.

    Attributes:
        host: Address to listen on; without a token a loopback address.
        port: Port, 0 for a free one.
        token: Secret of the ``Authorization: Bearer`` header; None: requests from this machine
            alone.
        images: Folder that holds the images of items enrolled from files, for thumbnails; None:
            they have none.
        max_image_bytes: Largest image file.
        max_pixels: Largest image.
        max_batch_bytes: Largest request with several images.
        max_batch_images: Most images of a request.
        decode_seconds: Longest decoding of an image.
        decode_megabytes: Most memory of decoding, beyond that of the idle worker process.
        body_seconds: Longest transfer of a request's body, and of its header.
        requests_per_minute: Rate of requests of a client, of which half a minute's may come at
            once.
        most_waiting: Most requests that wait for a processor; others are refused with 429.
        threads: Searches at a time.
        stop_seconds: Longest wait for running requests when the service stops.

    Raises:
        ValueError: A limit is not positive, the token is short, or the host is not this machine
            and there is no token.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    images: Path | None = None
    max_image_bytes: int = 20 << 20
    max_pixels: int = 25_000_000
    max_batch_bytes: int = 256 << 20
    max_batch_images: int = 500
    decode_seconds: float = 10.0
    decode_megabytes: int = 1024
    body_seconds: float = 30.0
    requests_per_minute: float = 600.0
    most_waiting: int = 64
    threads: int = 2
    stop_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in (
            "max_image_bytes", "max_pixels", "max_batch_bytes", "max_batch_images",
            "decode_seconds", "decode_megabytes", "body_seconds", "requests_per_minute",
            "most_waiting", "threads", "stop_seconds",
        ):  # fmt: skip
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be positive; got {value}")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be in [0, 65535]; got {self.port}")
        if self.token is not None:
            short = len(self.token) < _SHORTEST_TOKEN
            if short or not (self.token.isascii() and self.token.isprintable()):
                raise ValueError(
                    f"token must be at least {_SHORTEST_TOKEN} printable ASCII characters; make "
                    "one: python -c 'import secrets; print(secrets.token_urlsafe())'"
                )
        elif not is_loopback(self.host):
            raise ValueError(
                f"host must be 127.0.0.1, ::1 or localhost without a token; got {self.host}: set "
                "OG_REID_TOKEN, or give --token-file"
            )
        if self.images is not None and not self.images.is_dir():
            raise ValueError(f"images must be a folder; got {self.images}")


def find_token(path: Path | None) -> str | None:
    """Token of a file, else that of the environment variable OG_REID_TOKEN; None without.

    A command line is seen by other users of a machine: a token is never an argument.

    Args:
        path: File with the token, or None.

    Raises:
        ValueError: The file is no text, or longer than a token.
        OSError: It cannot be read.
    """
    if path is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip() or None
    with path.open("rb") as file:
        content = file.read(4097)
    if len(content) > 4096 or not content.isascii():
        raise ValueError(f"{path} must hold a token: one line of printable ASCII characters")
    return content.decode("ascii").strip()


def is_loopback(host: str) -> bool:
    """True for names and addresses of this machine alone.

    Args:
        host: Name or address, IPv6 in brackets or without.
    """
    name = host.strip().removeprefix("[").removesuffix("]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
