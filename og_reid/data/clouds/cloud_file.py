"""Files of cloud sets: tensors in the safetensors format, with a digest; see `tensor_files`.

The metadata of a file are ``format``, ``version``, ``names`` (JSON) and ``sha256``. Earlier files
lack the digest ``sha256``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pose.files.reading import reading

from ...files.tensors import read_header, read_tensors, write_tensors

__all__ = ["CloudFile", "read_cloud_file", "write_cloud_file"]

_FORMAT = "og_reid.cloud_set"
_VERSION = "2"
_OURS = frozenset({"format", "version", "names"})


@dataclass(frozen=True, eq=False)
class CloudFile:
    """Content of a file of clouds.

    Attributes:
        tensors: Tensors by field of a cloud set.
        names: Names of the clouds.
        about: Further text of the writer, by name.
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
        path: File to write.
        tensors: Tensors of any shapes, by name.
        names: Names of the clouds.
        about: Further text by name; names other than ``format``, ``version``, ``names``,
            ``sha256``.

    Raises:
        OSError: The file cannot be written, with its path.
    """
    text = json.dumps(list(names))
    metadata = {**(about or {}), "format": _FORMAT, "version": _VERSION, "names": text}
    solid = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_tensors(path, solid, metadata)


def read_cloud_file(
    path: str | Path, fields: Sequence[str], optional: Sequence[str] = ()
) -> CloudFile:
    """Reads what `write_cloud_file` wrote.

    The header is checked against the size of the file before anything is allocated.

    Args:
        path: File to read.
        fields: Exact names of the tensors.
        optional: Names of further tensors that may be there.

    Raises:
        ValueError: The file is missing, damaged, or something else; the message names it.
        OSError: It cannot be read, with its path.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} is not a file: give a cloud set written by CloudSet.save")
    shapes, metadata = read_header(path)
    _check_kind(path, metadata)
    missing = [name for name in fields if name not in shapes]
    if missing:
        raise ValueError(f"{path} misses {', '.join(missing)}: write it again")
    strange = sorted(set(shapes) - {*fields, *optional})
    if strange:
        raise ValueError(f"{path} holds {strange[:3]}, which no cloud set has: write it again")
    tensors, metadata = read_tensors(path, _OURS)
    with reading(path, "must list names of clouds as text, write it again"):
        names = json.loads(metadata["names"])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("must list names of clouds as text: write it again")
    _check_flags(path, tensors)
    about = {name: text for name, text in metadata.items() if name not in _OURS}
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


def _check_flags(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        # Other bytes in a bool mean something else to every operator.
        if tensor.dtype == torch.bool and bool((tensor.view(torch.uint8) > 1).any()):
            raise ValueError(f"{path}: {name} must hold the bytes 0 and 1 alone: write it again")
