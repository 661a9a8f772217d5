"""Tensor files with a digest of their content, read without running code.

Models and sets of clouds are safetensors files with the digest in the header; checkpoints are
torch's zip files with the digest at the end. Files without one, of earlier versions or other
programs, are read as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pose.files.atomic_write import atomic_write
from pose.files.reading import reading

__all__ = [
    "is_safetensors",
    "read_header",
    "read_tensors",
    "read_torch",
    "write_tensors",
    "write_torch",
]

_DIGEST = "sha256"  # key of the header of safetensors
_SAFETENSORS = "is no safetensors file or is damaged, get it or write it again"
_TORCH = "is damaged or no torch file, get it again"
# At the end of a torch file, as the comment of its zip, which any reader of zip files allows.
_COMMENT = b"og_reid sha256 "
_COMMENT_BYTES = len(_COMMENT) + 64
_BLOCK = 1 << 20
_SMALL = 1 << 26  # bytes of a tensor that need no check


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Writes a safetensors file with a digest of its content, atomically.

    The same content gives the same bytes.

    Args:
        path: File to write.
        tensors: Tensors by name, on the CPU and contiguous.
        metadata: Metadata of the header.

    Raises:
        OSError: The file cannot be written, as on a full disk; with the path.
    """
    from safetensors.torch import save_file

    digest = _digest(tensors, metadata)
    with atomic_write(path) as partial:
        save_file(dict(tensors), partial, metadata={**metadata, _DIGEST: digest})
        _sort_header(partial)


def _sort_header(path: Path) -> None:
    """Sorts the metadata of a safetensors file, whose writer has them in random order."""
    with path.open("rb+") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) <= length:  # the tensors begin after the header
            file.seek(8)
            file.write(text.ljust(length))


def read_tensors(
    path: str | Path, known: Iterable[str] | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads a safetensors file, and verifies its digest if it has one.

    Args:
        path: File to read.
        known: Allowed metadata keys of a file without a digest; another key may be a damaged
            ``sha256``. None: any.

    Returns:
        The tensors, on the CPU, and the header's metadata without the digest.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is damaged, or a pickle.
    """
    from safetensors import safe_open

    _refuse_pickle(path)
    with reading(path, _SAFETENSORS), safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    digest = metadata.pop(_DIGEST, None)
    strange = [] if known is None else sorted(metadata.keys() - set(known))
    if digest is None and strange:
        raise ValueError(
            f"{path} is damaged, or of a later version: its header has the unknown entry "
            f"{strange[0][:40]!r} and no digest; get it or write it again"
        )
    if digest not in (None, _digest(tensors, metadata)) and digest != _first_digest(
        tensors, metadata
    ):
        raise ValueError(
            f"{path} is damaged: its content is not the one that was written (the digest in its "
            "header differs); get it or write it again"
        )
    return tensors, metadata


def read_header(path: str | Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Names and shapes of the tensors of a safetensors file, and its metadata; see `read_tensors`.

    The digest is not verified, as the tensors are not read.
    """
    from safetensors import safe_open

    _refuse_pickle(path)
    with reading(path, _SAFETENSORS), safe_open(path, framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        metadata = dict(file.metadata() or {})
    metadata.pop(_DIGEST, None)
    return shapes, metadata


def is_safetensors(path: str | Path) -> bool:
    """True for a safetensors file, by its content or, for neither kind, its name.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= os.path.getsize(path):
        return True
    torch_file = start[:2] == b"PK" or start[:1] == b"\x80"
    return not torch_file and Path(path).suffix == ".safetensors"


def _refuse_download(path: str | Path) -> None:
    """Refuses contents often saved in place of weights: pointers of Git LFS, web pages."""
    with open(path, "rb") as file:
        start = file.read(256).lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"{path} is a pointer of Git LFS in place of the file: get it by git lfs pull"
        )
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError(
            f"{path} is a page of the web, no torch file and no safetensors file: open its link "
            "in a browser, and save the file itself"
        )


def _refuse_pickle(path: str | Path) -> None:
    with reading(path, _SAFETENSORS), open(path, "rb") as file:
        start = file.read(9)
        _refuse_download(path)
    # A zip (torch.save) or a bare pickle: both may run code when read. A safetensors file may start
    # with the same bytes, its length, but then comes a brace.
    if (start[:2] == b"PK" or start[:1] == b"\x80") and start[8:] != b"{":
        raise ValueError(
            f"{path} is a pickle, which may run code when read, and is refused here: read a "
            "network with OGNet.from_reference (which runs nothing), write it with "
            "og_reid.inference.pretrained.save_network, and give that .safetensors file"
        )


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Digest of names, types, shapes and bytes in the order of names, and of the other metadata."""
    head = "".join(repr((key, metadata[key])) for key in sorted(metadata))
    return _hashed(head, tensors, lambda name, *about: repr((name, *about)))


def _first_digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Digest in the format of the first cloud files with one."""
    head = json.dumps(dict(metadata), sort_keys=True)
    return _hashed(head, tensors, lambda *about: " ".join(map(str, about)))


def _hashed(
    head: str,
    tensors: Mapping[str, Tensor],
    described: Callable[[str, str, tuple[int, ...]], str],
) -> str:
    digest = hashlib.sha256(head.encode("utf-8", "surrogatepass"))
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        digest.update(described(name, str(tensor.dtype), tuple(tensor.shape)).encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_torch(path: str | Path, content: Mapping[str, Any]) -> None:
    """Writes tensors and plain values in torch's format, with a digest, atomically.

    Raises:
        OSError: The file cannot be written, as on a full disk; with the path.
    """
    with atomic_write(path) as partial:
        torch.save(dict(content), partial)
        digest = _file_digest(partial, partial.stat().st_size)
        with partial.open("rb+") as file:
            file.seek(-2, os.SEEK_END)  # the length of the comment: nothing follows the zip so far
            file.write(_COMMENT_BYTES.to_bytes(2, "little") + _COMMENT + digest.encode())


def read_torch(path: str | Path) -> Any:
    """Reads a torch file without running code in it.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is damaged, holds other objects than tensors and plain values, or
            declares larger sizes than it holds.
    """
    with reading(path, _TORCH):
        size = os.path.getsize(path)
        _refuse_download(path)
        _check_comment(path, size)
        if zipfile.is_zipfile(path):
            _check_members(path, size)
        try:
            # torch checks the name of a path (.safetensors), but not of a file object.
            with open(path, "rb") as file:
                content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            # torch's message advises a reading that runs code in the file.
            asked = re.search(r"GLOBAL ([\w.]+)", str(error))
            if asked:
                raise ValueError(
                    f"{path} holds Python objects ({asked[1]}), which could run code when read "
                    "and are refused: save model.state_dict() alone, best as safetensors"
                ) from None
            first = (str(error).splitlines() or [""])[0]
            cause = "" if "weights_only" in str(error) else f" ({type(error).__name__}: {first})"
            raise ValueError(f"{path} {_TORCH}{cause}") from None
        _check_sizes(path, content, max(size, _SMALL), set())
        return content


def _check_sizes(path: str | Path, content: Any, most: int, known: set[int]) -> None:
    """Refuses tensors that expand few bytes to gigabytes.

    A file may hold one list in many places: ``known`` has the visited ones, by `id`.
    """
    if id(content) in known:
        return
    if isinstance(content, Tensor):
        if content.numel() * content.element_size() > most:
            raise ValueError(
                f"{path} {_TORCH}: a tensor {tuple(content.shape)} is larger than the file"
            )
    elif isinstance(content, (Mapping, list, tuple)):
        known.add(id(content))
        for each in content.values() if isinstance(content, Mapping) else content:
            _check_sizes(path, each, most, known)


def _check_comment(path: str | Path, size: int) -> None:
    """Verifies the digest at the end of the file, if there is one."""
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            return
        file.seek(-min(size, 22 + _COMMENT_BYTES), os.SEEK_END)
        tail = file.read()
    if tail[-22:-18] == b"PK\x05\x06" and tail[-2:] == b"\0\0":
        return  # without a comment: of an earlier version, or of others
    length, comment = tail[-_COMMENT_BYTES - 2 : -_COMMENT_BYTES], tail[-_COMMENT_BYTES:]
    if tail[:4] != b"PK\x05\x06" or not comment.startswith(_COMMENT):
        raise ValueError(f"{path} is damaged: the end of the file is missing or another one")
    whole = int.from_bytes(length, "little") == _COMMENT_BYTES
    digest = _file_digest(path, size - _COMMENT_BYTES)
    if not whole or comment[len(_COMMENT) :] != digest.encode():
        raise ValueError(
            f"{path} is damaged: its content is not the one that was written (the digest at its "
            "end differs)"
        )


def _file_digest(path: str | Path, size: int) -> str:
    """Digest of the first ``size`` bytes of a zip, with its comment removed."""
    digest, left = hashlib.sha256(), size - 2
    with open(path, "rb") as file:
        while left > 0:
            block = file.read(min(_BLOCK, left))
            if not block:
                break
            digest.update(block)
            left -= len(block)
    digest.update(b"\0\0")
    return digest.hexdigest()


def _check_members(path: str | Path, size: int) -> None:
    """Refuses members that need more memory than the file has bytes."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any("/code/" in each.filename for each in members):
        raise ValueError(
            f"{path} is a TorchScript program, which would run when read, and is refused: save "
            "model.state_dict() alone, best as safetensors"
        )
    if any(each.compress_type != zipfile.ZIP_STORED for each in members):
        raise ValueError(f"{path} {_TORCH}: its members are compressed, which torch never does")
    if sum(each.file_size for each in members) > size:
        raise ValueError(f"{path} {_TORCH}: its members are longer than the file")
