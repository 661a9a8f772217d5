"""Files of cloud sets: tensors in the safetensors format, a hash of all that they hold beside them.

The metadata of a file are ``format``, ``version``, ``names`` (JSON) and ``sha256``. Files of before
the hash have the first three alone and are read without one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pose.atomic import replacing
from pose.reading import reading

__all__ = ["CloudFile", "read_cloud_file", "write_cloud_file"]

_FORMAT = "og_reid.cloud_set"
_VERSION = "2"
_HASH = "sha256"
_OLD = {"format", "version", "names"}
_RULE = "is no safetensors file or is damaged, write it again"


@dataclass(frozen=True, eq=False)
class CloudFile:
    """Content of a file of clouds.

    Attributes:
        tensors: By the names of the fields of a cloud set.
        names: Of the clouds.
        about: Further text, by names of the writer's.
    """

    tensors: dict[str, Tensor]
    names: tuple[str, ...]
    about: dict[str, str]


def write_cloud_file(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    names: Sequence[str],
    about: Mapping[str, str] | None = None,
) -> None:
    """Writes clouds, whole or not at all.

    Args:
        path: Of the file.
        tensors: Of any shapes.
        names: Of the clouds.
        about: Text to keep beside them; names other than ``format``, ``version``, ``names``,
            ``sha256``.

    Raises:
        OSError: The file cannot be written, with its path.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    text = json.dumps(list(names))
    metadata = {**(about or {}), "format": _FORMAT, "version": _VERSION, "names": text}
    solid = {name: tensor.contiguous() for name, tensor in tensors.items()}
    metadata[_HASH] = _digest(solid, metadata)
    try:
        with replacing(path) as partial:
            save_file(solid, partial, metadata=metadata)
    except SafetensorError as error:  # of its own kind, also where the disk is full
        raise OSError(f"{path} cannot be written: {error}") from error


def read_cloud_file(path: str | Path, fields: Sequence[str]) -> CloudFile:
    """Reads what `write_cloud_file` wrote.

    The header is checked against the size of the file before anything is allocated.

    Args:
        path: Of the file.
        fields: Names that the tensors must have, no more and no fewer.

    Raises:
        ValueError: The file is missing, damaged, or something else; the message names it.
        OSError: It cannot be read, with its path.
    """
    from safetensors import safe_open

    if not Path(path).is_file():
        raise ValueError(f"{path} is not a file: give a cloud set written by CloudSet.save")
    with reading(path, _RULE), safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata() or {})
        _check_kind(path, metadata)
        missing = [name for name in fields if name not in file.keys()]
        if missing:
            raise ValueError(f"{path} misses {', '.join(missing)}: write it again")
        strange = sorted(set(file.keys()) - set(fields))
        if strange:
            raise ValueError(f"{path} holds {strange[:3]}, which no cloud set has: write it again")
        tensors = {name: file.get_tensor(name) for name in fields}
        names = json.loads(metadata["names"])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path} must list names of clouds as text: write it again")
        _check_content(path, tensors, metadata)
    about = {name: text for name, text in metadata.items() if name not in (*_OLD, _HASH)}
    return CloudFile(tensors, tuple(names), about)


def _check_kind(path: str | Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path} is a safetensors file but no cloud set (format {metadata.get('format')!r})"
        )
    if metadata.get("version") != _VERSION:
        raise ValueError(
            f"{path} is a cloud set of version {metadata.get('version')}, this package reads "
            f"version {_VERSION}: write it again"
        )
    if "names" not in metadata:
        raise ValueError(f"{path} misses names: write it again")


def _check_content(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    # Damage may lie in the name of the hash, too: only files with nothing else are of before it.
    if set(metadata) != _OLD:
        rest = {name: text for name, text in metadata.items() if name != _HASH}
        if metadata.get(_HASH) != _digest(tensors, rest):
            raise ValueError(
                f"{path} is damaged (its content is not that of its {_HASH}): write it again"
            )
    for name, tensor in tensors.items():
        # Other bytes in a bool mean something else to every operator.
        if tensor.dtype == torch.bool and bool((tensor.view(torch.uint8) > 1).any()):
            raise ValueError(f"{path}: {name} must hold the bytes 0 and 1 alone: write it again")


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
