"""Finding and loading the native libraries.

They are torch-free C libraries named like submodules (`og_reid._cpu`, `meshes._raster`), so the
import system finds them: beside the package in a wheel or a source tree, in site-packages under an
editable install, where the Python files lie elsewhere.

With ``OG_REID_NATIVE=0`` in the environment they are not loaded and plain torch runs, on CPU and
GPU: for comparison, or to exclude the native code when debugging. With a folder as its value the
libraries in that folder are loaded, such as those of a sanitizer build. The variable is read once
per process, at the first use of a library.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import warnings
from pathlib import Path

__all__ = ["SWITCH", "find_library", "load_library", "native_enabled"]

#: Environment variable that switches the native libraries off (0) or on (1, as without it), or
#: names the folder to load them from.
SWITCH = "OG_REID_NATIVE"


def find_library(name: str) -> str | None:
    """Path of a library by its dotted name, such as ``meshes._raster``; None when there is none."""
    folder = Path(os.environ.get(SWITCH, "1"))
    if folder.is_dir():
        path = folder / f"{name.rpartition('.')[2]}.so"
        return str(path.resolve()) if path.exists() else None
    spec = importlib.util.find_spec(name)
    return None if spec is None else spec.origin


def native_enabled() -> bool:
    """False when native libraries are switched off.

    Raises:
        ValueError: the variable has another value than 0, 1 or a folder.
    """
    value = os.environ.get(SWITCH, "1")
    if value not in ("0", "1") and not Path(value).is_dir():
        raise ValueError(
            f"{SWITCH} must be 0 (plain torch) or 1 (native code), or a folder that holds the "
            f"libraries; got {value!r}"
        )
    return value != "0"


def load_library(name: str, *, version_function: str, version: int) -> ctypes.CDLL | None:
    """Loads a library.

    Args:
        name: dotted name.
        version_function: its function that returns the version of its interface.
        version: the version that is needed.

    Returns:
        The library, or None: switched off, missing, of another version, or (with a warning) not
        loadable.
    """
    path = find_library(name) if native_enabled() else None
    if path is None:
        return None
    try:
        library = ctypes.CDLL(path)
        found: int = getattr(library, version_function)()
    except (OSError, AttributeError) as error:
        warnings.warn(f"{path} does not load: {error}", RuntimeWarning, stacklevel=4)
        return None
    return library if found == version else None
