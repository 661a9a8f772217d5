"""Service of a gallery over HTTP: search, enrol, forget; a page to use them (``og-reid serve``).

It needs the extra ``serve``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..inference.pretrained import DEFAULT_MODEL
from .settings import ServeSettings, find_token

if TYPE_CHECKING:
    from ..inference.encoder import Encoder

__all__ = ["ServeSettings", "application", "find_token", "serve"]


def serve(
    gallery: str | Path,
    settings: ServeSettings | None = None,
    model: str | Path | Encoder = DEFAULT_MODEL,
) -> None:
    """Serve a gallery until the process is asked to stop.

    Args:
        gallery: Folder of the gallery; a new one is made by the first enrolment.
        settings: Address, token, limits.
        model: As for `og_reid.Gallery`.

    Raises:
        ValueError: The folder holds other files, or another process writes.
        OSError: The address is in use.
        ImportError: fastapi, uvicorn or lancedb is missing.
    """
    _check_packages()
    from .server import run_server

    run_server(gallery, settings or ServeSettings(), model)


def application(
    gallery: str | Path,
    settings: ServeSettings | None = None,
    model: str | Path | Encoder = DEFAULT_MODEL,
) -> Any:
    """ASGI application of the service, for another server: one process, one gallery.

    Args:
        gallery: Folder of the gallery.
        settings: Token and limits; host and port are those of the server.
        model: As for `og_reid.Gallery`.

    Raises:
        ValueError: The folder holds other files.
        ImportError: fastapi or lancedb is missing.
    """
    _check_packages()
    from .app import create_app
    from .service import GalleryService

    return create_app(GalleryService(gallery, model, settings))


def _check_packages() -> None:
    try:
        import fastapi  # noqa: F401
        import lancedb  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"the service needs {error.name}: pip install 'og-reid[serve]'"
        ) from error
