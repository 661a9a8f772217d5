"""Two fused models on disk: a folder with both, and how much each counts."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pose.atomic import replacing

from .checkpoint import StoredModel, StoredPeopleModel, origin, read_model, read_people_model
from .config import FusionConfig, to_dict
from .fusion import Fusion

__all__ = [
    "FUSION_FILE",
    "StoredFusion",
    "check_unknown",
    "is_fusion",
    "read_fusion",
    "read_fusion_record",
    "save_fusion",
]

FUSION_FILE = "fusion.json"
_FORMAT = "og_reid.fusion 1"
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

    first: StoredPeopleModel
    second: StoredModel
    fusion: Fusion
    dataset: str | None


def check_unknown(people: frozenset[int], origins: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses models that learned from people on whom weights are to be chosen.

    Args:
        people: Identities of these.
        origins: By the name of each model what its file tells of its training run.

    Raises:
        ValueError: One of the models did, or its file does not tell.
    """
    for name, told in origins.items():
        mend = f"train it on this data with data.hold_out={len(people)}"
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
        with replacing(folder / name) as partial:
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
    with replacing(folder / FUSION_FILE) as partial:
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
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != _FORMAT:
            raise ValueError(f"format {record['format']!r}")
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged or of another version ({error}): run og-reid fuse again"
        ) from error
    found: dict[str, Any] = record
    return found


def read_fusion(folder: str | Path) -> StoredFusion:
    """Reads what `save_fusion` wrote.

    Raises:
        ValueError: Something is damaged, or a model is not the one that the weights are for.
    """
    folder, record = Path(folder), read_fusion_record(folder)
    try:
        people = frozenset(int(pid) for pid in record["people"])
        fusion = Fusion(record["second"], record["parts"], record["mAP"], people)
        digests, dataset = dict(record["sha256"]), record["dataset"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{folder / FUSION_FILE} is damaged: {error}") from error
    for name in (_FIRST, _SECOND):
        if not (folder / name).is_file() or digests.get(name) != _digest(folder / name):
            raise ValueError(
                f"{folder / name} is not the model that the weights are for: run og-reid fuse again"
            )
    first, second = read_people_model(folder / _FIRST), read_model(folder / _SECOND)
    return StoredFusion(first, second, fusion, dataset)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
