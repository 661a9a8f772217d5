"""Generated data sets on disk: images, masks, provenance and tables; resumable."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pose.files.atomic_write import atomic_write
from pose.files.reading import reading

from ..datasets.market import SPLIT_FOLDERS, parse_name
from .making import Generated
from .recipes import OPERATIONS, Recipe

__all__ = [
    "MANIFEST",
    "UNLABELLED",
    "Labels",
    "Row",
    "claim_folder",
    "copy_original",
    "image_path",
    "is_made",
    "read_provenance",
    "write_generated",
    "write_tables",
]

#: Labels of images with the garments of another person: ``wearer``, ``donor`` (of the garments), or
#: ``none``, for all generated images.
Labels = Literal["wearer", "donor", "none"]
#: Manifest of a generated data set, with its settings.
MANIFEST = "generate.json"
#: Folder of generated images without labels.
UNLABELLED = "unlabelled"
_MOST_BYTES = 1 << 20
_MOST_FRAMES = 1_000_000
_SEQUENCE = 900  # of names of generated images, plus the number of the operation


@dataclass(frozen=True)
class Row:
    """Row of ``images.csv``.

    Attributes:
        path: Path below the folder, with ``/``.
        pid: Label.
        camid: Camera.
        split: ``train``, ``query`` or ``gallery``.
        operation: ``original`` for an image of the source.
        source: Name of the source image.
        wearer: Identity of body, head and hands.
        donor: Identity that gave pose, garments, or stands in front; empty without one.
        yaw: Radians.
        occluder: Kind of the occluder.
        visible_fraction: Fraction of the person that the occluder leaves.
        seen_fraction: Fraction of the person's pixels whose colour an image shows.
    """

    path: str
    pid: int
    camid: int
    split: str
    operation: str
    source: str
    wearer: int
    donor: str
    yaw: float
    occluder: str
    visible_fraction: float
    seen_fraction: float


def claim_folder(folder: Path, settings: Mapping[str, Any]) -> None:
    """Makes the folder of a data set, or accepts that of the same settings.

    Raises:
        FileExistsError: The folder holds something else.
        ValueError: Its manifest is damaged.
        OSError: It cannot be made.
    """
    path = folder / MANIFEST
    if path.exists():
        found = read_provenance(path)
        names = sorted({*found, *settings})
        other = [
            f"{name} {found.get(name)!r}, not {settings.get(name)!r}"
            for name in names
            if found.get(name) != settings.get(name)
        ]
        if other:
            raise FileExistsError(
                f"{folder} holds images of other settings ({'; '.join(other)[:500]}): give "
                "another --out, or the same settings"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"--out must be new or empty; {folder} is neither: give another")
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(path, settings)


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Reads the provenance of an image, or the settings of a generated data set.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged.
    """
    path = Path(path)
    with reading(path, "must be JSON of og-reid generate; remove it, and it is made again"):
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"must have at most {_MOST_BYTES} bytes")
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("must be an object")
    return found


def image_path(recipe: Recipe, camid: int, labels: Labels) -> str:
    """Path of a generated image below its folder, named as in Market-1501.

    Raises:
        ValueError: The label has no such name.
    """
    pid = recipe.person.pid
    if labels == "donor" and recipe.operation == "dress" and recipe.donor is not None:
        pid = recipe.donor.pid
    if not 0 < pid <= 9999:
        raise ValueError(f"identities must be 1 to 9999 (digits in names); got {pid}")
    if recipe.person.frame >= _MOST_FRAMES:
        raise ValueError(f"a data set holds at most {_MOST_FRAMES:,} images (digits in names)")
    sequence = _SEQUENCE + OPERATIONS.index(recipe.operation)
    name = f"{pid:04d}_c{camid}s{sequence}_{recipe.person.frame:06d}_{recipe.number:02d}.png"
    folder = UNLABELLED if labels == "none" else SPLIT_FOLDERS[recipe.person.split]
    return f"{folder}/{name}"


def _provenance(folder: Path, path: str) -> Path:
    return folder / "provenance" / f"{Path(path).stem}.json"


def is_made(folder: Path, path: str, about: Mapping[str, Any]) -> bool:
    """True when an image with the same recipe was made, and is whole."""
    try:
        found = read_provenance(_provenance(folder, path))
        pixels = (folder / path).read_bytes()
        mask = (folder / "masks" / Path(path).name).read_bytes()
    except (OSError, ValueError):
        return False
    digests = [hashlib.sha256(each).hexdigest() for each in (pixels, mask)]
    return found.get("recipe") == dict(about) and found.get("sha256") == digests


def write_generated(folder: Path, path: str, made: Generated, about: Mapping[str, Any]) -> None:
    """Writes an image, its mask, and last its provenance."""
    image, mask = _png(made.image), _png(made.mask.astype(np.uint8) * 255)
    _write(folder / path, image)
    _write(folder / "masks" / Path(path).name, mask)
    points = made.keypoints
    _write_json(
        _provenance(folder, path),
        {
            "recipe": dict(about),
            "parameters": made.parameters,
            "yaw": round(made.yaw, 6),
            "camera": made.camera,
            "occluder": made.occluder,
            "visible_fraction": round(made.visible_fraction, 6),
            "seen_fraction": round(made.seen_fraction, 6),
            "keypoints": {
                "names": list(points.names),
                "xy": [[round(v, 2) for v in each] for each in points.xy.tolist()],
                "visibility": points.visibility.tolist(),
            },
            "sha256": [hashlib.sha256(each).hexdigest() for each in (image, mask)],
        },
    )


def copy_original(folder: Path, source: Path, split: str, pid: int, camid: int, frame: int) -> str:
    """Copies a source image into the data set; returns its path below it.

    A name that is not as in Market-1501 is replaced, with the number ``frame``.
    """
    name = source.name
    if parse_name(name) != (pid, camid):
        name = f"{pid:04d}_c{camid}s1_{frame:06d}_00{source.suffix.lower()}"
    place = folder / SPLIT_FOLDERS[split] / name
    if not place.exists():
        with atomic_write(place) as partial:
            partial.write_bytes(source.read_bytes())
    return f"{place.parent.name}/{name}"


def write_tables(folder: Path, rows: Iterable[Row], labels: Labels) -> tuple[Path, ...]:
    """Writes ``images.csv`` and ``attributes.csv``; without labels also ``unlabelled.csv``.

    Returns:
        The files.
    """
    ordered = sorted(rows, key=lambda row: row.path)
    plain = [row for row in ordered if row.path.startswith(f"{UNLABELLED}/")]
    labelled = [row for row in ordered if not row.path.startswith(f"{UNLABELLED}/")]
    written = []
    if labelled:
        written.append(_table(folder / "images.csv", labelled))
        written.append(_attributes(folder / "attributes.csv", labelled))
    if plain and labels == "none":
        written.append(_table(folder / "unlabelled.csv", plain))
    return tuple(written)


def _table(path: Path, rows: Sequence[Row]) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Row.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    _write(path, text.getvalue().encode("utf-8", "surrogateescape"))
    return path


def _attributes(path: Path, rows: Sequence[Row]) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["split", "name", "occluder", "visible_fraction", "yaw"])
    for row in rows:
        split, name = row.path.split("/")
        writer.writerow(
            [split, name, row.occluder, f"{row.visible_fraction:.4f}", f"{row.yaw:.5f}"]
        )
    _write(path, text.getvalue().encode())
    return path


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    _write(path, (json.dumps(values, indent=1, sort_keys=True) + "\n").encode())
