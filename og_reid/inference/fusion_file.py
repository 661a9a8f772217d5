"""Two fused models on disk: a folder with both, and how much each counts."""

from __future__ import annotations

import hashlib
import json
import reprlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pose.files.atomic_write import atomic_write
from pose.files.reading import reading

from ..config.schema import FusionConfig, to_dict
from .fusion import Fusion
from .model_file import StoredImageModel, StoredModel, read_image_model, read_model
from .provenance import checked_origin, mapping, origin

__all__ = [
    "FUSION_FILE",
    "StoredFusion",
    "check_disjoint_identities",
    "is_fusion",
    "read_fusion",
    "read_fusion_record",
    "save_fusion",
]

FUSION_FILE = "fusion.json"
_FORMAT = "og_reid.fusion 1"
_MOST_BYTES = 1 << 24
_FIRST, _SECOND = "first.safetensors", "second.safetensors"


@dataclass(frozen=True, eq=False)
class StoredFusion:
    """What `save_fusion` wrote.

    Attributes:
        first: Network of photographs.
        second: Network of clouds.
        fusion: Their weights, and the people on whom these were chosen.
        dataset: Name of the data set that these people are from; None when it has none.
    """

    first: StoredImageModel
    second: StoredModel
    fusion: Fusion
    dataset: str | None


def check_disjoint_identities(
    people: frozenset[int], origins: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuses models that learned from people on whom weights are to be chosen.

    Args:
        people: Identities of these.
        origins: By the name of each model what its file tells of its training run.

    Raises:
        ValueError: One of the models did, or its file does not tell.
    """
    for name, told in origins.items():
        mend = f"train it on this data with data.val_identities={len(people)}"
        if "people" not in told:
            raise ValueError(f"{name} does not tell which people it learned from: {mend}")
        seen = people & set(told["people"])
        if seen:
            raise ValueError(
                f"{name} has learned from {len(seen)} of the {len(people)} people on whom the "
                f"weights are to be chosen, such as {sorted(seen)[:5]}: {mend}"
            )


def save_fusion(
    folder: str | Path,
    first: str | Path,
    second: str | Path,
    fusion: Fusion,
    config: FusionConfig,
    dataset: str | None = None,
) -> None:
    """Copies both models into a folder, made when missing, and writes ``fusion.json`` last."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in ((first, _FIRST), (second, _SECOND)):
        with atomic_write(folder / name) as partial:
            shutil.copyfile(source, partial)
    record = {
        "format": _FORMAT,
        "second": fusion.second,
        "parts": fusion.parts,
        "mAP": fusion.mAP,
        "people": sorted(fusion.people),
        "dataset": dataset,
        "sha256": {name: _digest(folder / name) for name in (_FIRST, _SECOND)},
        "origin": origin(to_dict(config), 0),
    }
    with atomic_write(folder / FUSION_FILE) as partial:
        partial.write_text(json.dumps(record) + "\n", encoding="utf-8")


def is_fusion(folder: str | Path) -> bool:
    """Whether a folder is one of `save_fusion`."""
    return (Path(folder) / FUSION_FILE).is_file()


def read_fusion_record(folder: str | Path) -> dict[str, Any]:
    """What ``fusion.json`` says.

    Raises:
        ValueError: It is damaged, or of another version.
    """
    path = Path(folder) / FUSION_FILE
    try:
        with reading(path), path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
            if len(text) > _MOST_BYTES:
                raise ValueError(f"more than {_MOST_BYTES >> 20} MB")
            return _checked(json.loads(text))
    except ValueError as error:
        cause = str(error).removeprefix(f"{path}: ")
        raise ValueError(
            f"{path} is damaged or of another version ({cause}): run og-reid fuse again"
        ) from error


def _checked(record: Any) -> dict[str, Any]:
    """A record whose values have the types that they were written with."""
    mapping("the record", record)
    if record["format"] != _FORMAT:
        raise ValueError(f"format {reprlib.repr(record['format'])}")
    people, figure = record["people"], record["mAP"]
    if not isinstance(people, list) or any(type(pid) is not int for pid in people):
        raise ValueError("people must be a list of whole numbers")
    for name in ("second", "parts", *(() if figure is None else ("mAP",))):
        value = record[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"{name} must be a number in [0, 1]; got {reprlib.repr(value)}")
    if not (record["dataset"] is None or isinstance(record["dataset"], str)):
        raise ValueError("dataset must be a name")
    digests = mapping("sha256", record["sha256"])
    if not all(isinstance(digests[name], str) for name in (_FIRST, _SECOND)):
        raise ValueError("sha256 must be of both models")
    mapping("config", checked_origin(record["origin"])["config"])
    return record


def read_fusion(folder: str | Path) -> StoredFusion:
    """Reads what `save_fusion` wrote.

    Raises:
        OSError: A file cannot be read.
        ValueError: Something is damaged, or a model is not the one that the weights are for.
    """
    folder, record = Path(folder), read_fusion_record(folder)
    people = frozenset(record["people"])
    fusion = Fusion(record["second"], record["parts"], record["mAP"], people)
    for name in (_FIRST, _SECOND):
        if not (folder / name).is_file() or record["sha256"][name] != _digest(folder / name):
            raise ValueError(
                f"{folder / name} is not the model that the weights are for: run og-reid fuse again"
            )
    first, second = read_image_model(folder / _FIRST), read_model(folder / _SECOND)
    return StoredFusion(first, second, fusion, record["dataset"])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
