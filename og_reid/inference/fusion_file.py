"""Folder of two fused models: both files, and ``fusion.json`` with their weights."""

from __future__ import annotations

import hashlib
import json
import reprlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pose.files.atomic_write import atomic_write
from pose.files.reading import reading

from .fused_encoder import FusedEncoder
from .fusion import Fusion, FusionConfig
from .model_file import FileKind, read_kind
from .provenance import checked_provenance, mapping, run_provenance

__all__ = [
    "FUSION_FILE",
    "check_disjoint_identities",
    "read_fusion",
    "read_fusion_record",
    "save_fusion",
]

#: File name of the fusion weights within a run folder.
FUSION_FILE = "fusion.json"
_FORMAT = "og_reid.fusion 1"
_MOST_BYTES = 1 << 24
_FIRST, _SECOND = "first.safetensors", "second.safetensors"


def check_disjoint_identities(
    people: frozenset[int], provenances: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuses models trained on identities on which fusion weights are to be chosen.

    Args:
        people: Identities on which weights are to be chosen.
        provenances: Provenance of each model by its name.

    Raises:
        ValueError: The training identities of a model overlap, or its file lacks them.
    """
    for name, provenance in provenances.items():
        mend = f"train it on this data with data.val_identities={len(people)}"
        if "people" not in provenance:
            raise ValueError(f"{name} has no record of its training identities: {mend}")
        seen = people & set(provenance["people"])
        if seen:
            raise ValueError(
                f"{name} was trained on {len(seen)} of the {len(people)} identities on which the "
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
    """Copies both models into a folder, created if missing, and writes ``fusion.json`` last.

    Args:
        folder: Folder to write.
        first: File of the first model.
        second: File of the second model.
        fusion: Weights of the fusion.
        config: Settings of the choice, for the provenance.
        dataset: Name of the data set of the choice, or None.
    """
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
        "origin": run_provenance(asdict(config), 0),
    }
    with atomic_write(folder / FUSION_FILE) as partial:
        partial.write_text(json.dumps(record) + "\n", encoding="utf-8")


def read_fusion_record(folder: str | Path) -> dict[str, Any]:
    """Content of ``fusion.json``.

    Raises:
        ValueError: The file is damaged, or of another version.
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
    """Record with checked types of its values."""
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
    mapping("config", checked_provenance(record["origin"])["config"])
    return record


def read_fusion(folder: str | Path, kinds: Mapping[str, FileKind]) -> FusedEncoder:
    """Fused model in a folder of `save_fusion`.

    Args:
        folder: Folder with ``fusion.json``.
        kinds: Kinds of models by the format of their files.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is damaged, or a model is not that of the weights.
    """
    folder, record = Path(folder), read_fusion_record(folder)
    people = frozenset(record["people"])
    fusion = Fusion(record["second"], record["parts"], record["mAP"], people)
    for name in (_FIRST, _SECOND):
        if not (folder / name).is_file() or record["sha256"][name] != _digest(folder / name):
            raise ValueError(
                f"{folder / name} is not the model that the weights are for: run og-reid fuse again"
            )
    first, second = (read_kind(folder / name, kinds) for name in (_FIRST, _SECOND))
    return FusedEncoder(first, second, fusion, record["dataset"], record["origin"])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
