"""Page of a map of embeddings of files, with their images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["groups_of_names", "require_map", "write_embedding_map"]

_MOST = 3000  # points of a map: the page stays under about 10 MB
_IDENTITY = re.compile(r"(-?\d+)_c\d+")  # names of Market-1501
_HEIGHT, _WIDTH = 128, 64  # rendering of a cloud, pixels


def write_embedding_map(path: str | Path, names: Sequence[str | Path], features: Any) -> int:
    """Writes a page with a t-SNE map of embeddings.

    Args:
        path: File to write.
        names: Images and point clouds of the embeddings, which are read again.
        features: (n, D) embeddings; of more than 3,000, evenly chosen ones are shown.

    Returns:
        Number of embeddings shown.

    Raises:
        ValueError: There are no embeddings, or they have no numbers.
        ImportError: scikit-learn is missing.
        OSError: The file cannot be written.
    """
    from ..viz.embedding_map import map_page, project_embeddings, write_map

    rows = np.asarray(features)
    if not rows.size:
        raise ValueError(f"features must hold numbers to map; got {rows.shape}: no embeddings")
    kept = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MOST)).round().astype(int))
    paths = [Path(names[i]) for i in kept]
    note = "" if len(kept) == len(rows) else f"{len(kept):,} of {len(rows):,}, evenly chosen."
    page = map_page(
        project_embeddings(rows[kept]),
        _short(paths),
        [_image(each) for each in paths],
        groups=groups_of_names(paths),
        features=rows[kept],
        note=note,
    )
    write_map(path, page)
    return len(kept)


def require_map() -> None:
    """Refuses a map before the embeddings are made.

    Raises:
        ImportError: scikit-learn is missing.
    """
    from ..viz.embedding_map import project_embeddings

    project_embeddings(np.eye(5))


def groups_of_names(paths: Sequence[str | Path]) -> list[str | None] | None:
    """Identities of files by name: those of Market-1501's names, or of one folder per identity.

    Args:
        paths: Files.

    Returns:
        Group of each file; None where names hold no identities.
    """
    files = [Path(path) for path in paths]
    found = [_IDENTITY.match(file.name) for file in files]
    if all(found) and files:
        return [each.group(1) if each else None for each in found]
    parents = [file.parent.as_posix() for file in files]
    return [Path(parent).name for parent in parents] if len(set(parents)) > 1 else None


def _short(paths: Sequence[Path]) -> list[str]:
    """Names of files, with their folders where they are several."""
    alone = len({path.parent for path in paths}) == 1
    return [path.name if alone else f"{path.parent.name}/{path.name}" for path in paths]


def _image(path: Path) -> np.ndarray | None:
    """Image of a file, or rendering of a cloud; None where it cannot be read any more."""
    from meshes.pointcloud_io import read_pointcloud
    from pose import read_image

    from ..data.files.inputs import CLOUD_ENDINGS
    from ..viz.splatting import render_cloud

    try:
        if path.suffix.lower() not in CLOUD_ENDINGS:
            return read_image(path)
        cloud = read_pointcloud(path).body()
        return render_cloud(cloud.points, cloud.colors, height=_HEIGHT, width=_WIDTH)
    except (OSError, ValueError):
        return None
