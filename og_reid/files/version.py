"""Version of the installed package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["package_version"]


def package_version() -> str:
    """Version of the installed package; ``0+unknown`` when run from a bare source tree."""
    try:
        return version("og-reid")
    except PackageNotFoundError:
        return "0+unknown"
