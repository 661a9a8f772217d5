"""Shard of a cloud store: Arrow columns, positions in 16 bits, a checksum per row."""

from __future__ import annotations

import os
import reprlib
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pose.files.atomic_write import atomic_write

from .market3d import RawCloud

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FORMAT",
    "FRAME",
    "MAX_ERROR",
    "VERSION",
    "CloudLabel",
    "QuantizedCloud",
    "Shard",
    "import_pyarrow",
    "write_shard",
]

#: Format name in the metadata of a shard.
FORMAT = "og_reid.cloud_store"
#: Version of the format.
VERSION = 1
#: Frame of the stored points.
FRAME = "metres, x right, y down, z away from the camera"

MAX_ERROR = 5e-5
"""Largest error of a stored coordinate, metres; clouds over it are refused."""

_LEVELS = 65535
_MOST_METADATA = 1 << 24  # bytes of one of Arrow's tables


@dataclass(frozen=True)
class CloudLabel:
    """Metadata of a cloud.

    Attributes:
        name: name of its image.
        split: split, such as ``train``.
        pid: identity; -1 = junk, 0 = distractor.
        camid: camera.
    """

    name: str
    split: str
    pid: int
    camid: int


@dataclass(frozen=True, eq=False)
class QuantizedCloud:
    """Quantized cloud of N points, 9 bytes each.

    Attributes:
        xyz: (N, 3) uint16 steps from ``low``.
        rgb: (N, 3) uint8 colours.
        low: (3,) float32 corner of the box, metres.
        step: (3,) float32 metres; 0 along an axis without extent.
    """

    xyz: np.ndarray
    rgb: np.ndarray
    low: np.ndarray
    step: np.ndarray

    @classmethod
    def pack(cls, cloud: RawCloud) -> QuantizedCloud:
        """Quantizes a cloud: colours to 1/255, positions to a 65535th of its box.

        Colours of 8-bit pixels are exact.

        Raises:
            ValueError: the cloud is empty or has values that are not finite, or the error of a
                coordinate exceeds `MAX_ERROR` (extents over about 6.5 m).
        """
        points = cloud.points.cpu().numpy().astype(np.float64)
        colors = cloud.colors.cpu().numpy()
        if not len(points):
            raise ValueError("a cloud must have at least one point; got none")
        if not (np.isfinite(points).all() and np.isfinite(colors).all()):
            raise ValueError("points and colors must be finite; got NaN or infinity")
        if colors.min() < 0 or colors.max() > 1:
            raise ValueError(f"colors must be in [0, 1]; got {colors.min():g}..{colors.max():g}")
        low = points.min(axis=0)
        step = ((points.max(axis=0) - low) / _LEVELS).astype(np.float32)
        steps = np.rint((points - low) / np.where(step > 0, step, 1)).clip(0, _LEVELS)
        packed = cls(
            xyz=steps.astype(np.uint16),
            rgb=np.rint(colors * 255).astype(np.uint8),
            low=low.astype(np.float32),
            step=step,
        )
        error = float(np.abs(packed.unpack().points.numpy() - points).max())
        if error > MAX_ERROR:
            extent = float((points.max(axis=0) - low).max())
            raise ValueError(
                f"a stored coordinate must be within {1e3 * MAX_ERROR:g} mm; this cloud of "
                f"{extent:.3g} m would be off by {1e3 * error:.3g} mm: 16 bits hold about 6.5 m: "
                "give metres, and drop far outliers"
            )
        return packed

    def unpack(self) -> RawCloud:
        """Cloud in float32."""
        points = self.xyz.astype(np.float32)
        for axis in range(3):  # numpy is slow with rows of three
            column = points[:, axis]
            column *= self.step[axis]
            column += self.low[axis]
        colors = self.rgb.astype(np.float32)
        colors /= 255
        return RawCloud(torch.from_numpy(points), torch.from_numpy(colors))

    def checksum(self, label: CloudLabel) -> int:
        """CRC-32 of content and label."""
        text = f"{label.split}/{label.name}\n{label.pid}\n{label.camid}"
        check = zlib.crc32(text.encode())
        for array in (self.low, self.step, self.xyz, self.rgb):
            check = zlib.crc32(np.ascontiguousarray(array).data, check)
        return check


def import_pyarrow() -> Any:
    """Module pyarrow, or an ImportError with the command that installs it."""
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            "pyarrow is needed for cloud stores; install it with: pip install 'og-reid[store]' "
            f"({error})"
        ) from error
    return pyarrow


def _schema(fingerprint: str) -> pa.Schema:
    arrow = import_pyarrow()
    triple = {
        kind: arrow.list_(kind, 3) for kind in (arrow.uint16(), arrow.uint8(), arrow.float32())
    }
    columns = {
        "name": arrow.string(),
        "split": arrow.string(),
        "pid": arrow.int64(),
        "camid": arrow.int64(),
        "xyz": arrow.list_(triple[arrow.uint16()]),
        "rgb": arrow.list_(triple[arrow.uint8()]),
        "low": triple[arrow.float32()],
        "step": triple[arrow.float32()],
        "crc32": arrow.uint32(),
    }
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "frame": FRAME,
        "fingerprint": fingerprint,
    }
    return arrow.schema(list(columns.items()), metadata=metadata)


def write_shard(
    path: str | Path, clouds: Iterable[tuple[CloudLabel, QuantizedCloud]], *, fingerprint: str = ""
) -> None:
    """Writes clouds into one Arrow file, atomically.

    The same clouds and the same fingerprint give the same bytes.

    Raises:
        ValueError: there is no cloud.
    """
    arrow = import_pyarrow()
    rows = list(clouds)
    if not rows:
        raise ValueError("clouds must hold at least one cloud; got none")
    labels, packed = [label for label, _ in rows], [each for _, each in rows]
    ptr = arrow.array([0, *accumulate(len(each.xyz) for each in packed)], arrow.int32())

    def triples(field: str, kind: pa.DataType) -> pa.Array:
        values = np.concatenate([getattr(each, field) for each in packed], axis=None)
        return arrow.FixedSizeListArray.from_arrays(arrow.array(values, kind), 3)

    schema = _schema(fingerprint)
    batch = arrow.record_batch(
        [
            *(arrow.array([getattr(each, field) for each in labels], schema.field(field).type)
              for field in ("name", "split", "pid", "camid")),
            arrow.ListArray.from_arrays(ptr, triples("xyz", arrow.uint16())),
            arrow.ListArray.from_arrays(ptr, triples("rgb", arrow.uint8())),
            triples("low", arrow.float32()),
            triples("step", arrow.float32()),
            arrow.array([each.checksum(label) for label, each in rows], arrow.uint32()),
        ],
        schema=schema,
    )  # fmt: skip
    with atomic_write(path) as partial, arrow.OSFile(str(partial), "wb") as sink:
        with arrow.ipc.new_file(sink, schema) as writer:
            writer.write_batch(batch)


def _refuse_nulls(batch: pa.RecordBatch) -> None:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        inner = column
        while inner is not None:
            if inner.null_count:
                raise ValueError(f"{name} must have no empty places; got {inner.null_count}")
            inner = getattr(inner, "values", None)


def _refuse_compressed(path: Path) -> None:
    """Refuses an Arrow file with compressed columns, which shards never have.

    Arrow allocates their declared sizes: gigabytes from a small file. Compression is declared in
    tables that Arrow's reader does not expose, see Footer, Message and RecordBatch of its format;
    files of other formats are left to that reader.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)

        def read(start: int, count: int) -> bytes:
            if not 0 <= start <= start + count <= min(size, start + _MOST_METADATA):
                raise ValueError("the tables of the file point outside of it")
            file.seek(start)
            return file.read(count)

        if size < 18 or read(size - 6, 6) != b"ARROW1":
            return
        (length,) = struct.unpack("<i", read(size - 10, 4))
        footer = read(size - 10 - length, length)
        root = struct.unpack_from("<I", footer)[0]
        dictionaries, batches = (_vector(footer, root, index) for index in (2, 3))
        if dictionaries[1]:
            raise ValueError("its columns must not be dictionaries")
        for number in range(batches[1]):
            offset, metadata = struct.unpack_from("<qi", footer, batches[0] + 24 * number)
            message = read(offset, metadata)
            start = 8 if message[:4] == b"\xff\xff\xff\xff" else 4
            table = start + struct.unpack_from("<I", message, start)[0]
            header = _field(message, table, 2)
            if header is None:
                raise ValueError("a message of the file is empty")
            batch = header + struct.unpack_from("<I", message, header)[0]
            if _field(message, batch, 3) is not None:
                raise ValueError("its columns must not be compressed")


def _field(data: bytes, table: int, index: int) -> int | None:
    """Position of a field of a flatbuffer table; None for its default."""
    slots = table - struct.unpack_from("<i", data, table)[0]
    if slots < 0 or 6 + 2 * index > struct.unpack_from("<H", data, slots)[0]:
        return None
    place: int = struct.unpack_from("<H", data, slots + 4 + 2 * index)[0]
    return table + place if place else None


def _vector(data: bytes, table: int, index: int) -> tuple[int, int]:
    """Position of the entries of a vector, and their number."""
    field = _field(data, table, index)
    if field is None:
        return 0, 0
    start = field + struct.unpack_from("<I", data, field)[0]
    return start + 4, min(struct.unpack_from("<I", data, start)[0], 1 << 16)


class Shard:
    """Memory-mapped file of a store.

    Attributes:
        fingerprint: hash of its sources, see `write_shard`.
        labels: labels of its clouds.

    Raises:
        ValueError: the file is missing, damaged or no shard; the message names it.
    """

    def __init__(self, path: str | Path) -> None:
        arrow = import_pyarrow()
        self._path = Path(path)
        try:
            _refuse_compressed(self._path)
            # Closing keeps the mapping and gives back the file descriptor: stores have many files.
            with arrow.memory_map(str(path)) as source, arrow.ipc.open_file(source) as reader:
                schema = reader.schema
                found = {
                    key.decode(): value.decode() for key, value in (schema.metadata or {}).items()
                }
                expected = {"format": FORMAT, "version": str(VERSION)}
                if any(found.get(key) != value for key, value in expected.items()):
                    raise ValueError(f"must be {expected}; got {reprlib.repr(found)}")
                self.fingerprint = found["fingerprint"]
                if not schema.equals(_schema("")) or reader.num_record_batches != 1:
                    raise ValueError(
                        f"must be one batch of the known columns; got {str(schema)[:500]}"
                    )
                batch = reader.get_batch(0)
            batch.validate(full=True)  # offsets that point outside would crash later
            self._read(batch)
        except Exception as error:  # a damaged file makes its reader stumble over anything
            raise self._damaged(f"{error}" or type(error).__name__) from error

    def _read(self, batch: pa.RecordBatch) -> None:
        def triples(array: pa.Array) -> np.ndarray:
            return array.flatten().to_numpy().reshape(-1, 3)

        _refuse_nulls(batch)
        xyz, rgb = batch["xyz"], batch["rgb"]
        self._ptr: list[int] = xyz.offsets.to_pylist()
        if rgb.offsets.to_pylist() != self._ptr:
            raise ValueError("xyz and rgb must have as many points")
        self._xyz, self._rgb = triples(xyz.values), triples(rgb.values)
        self._low, self._step = triples(batch["low"]), triples(batch["step"])
        self._crc: list[int] = batch["crc32"].to_pylist()
        self._checked = bytearray(len(self._crc))
        columns = (batch[name].to_pylist() for name in ("name", "split", "pid", "camid"))
        self.labels = tuple(CloudLabel(*row) for row in zip(*columns, strict=True))
        if not len(self.labels) or min(b - a for a, b in pairwise(self._ptr)) < 1:
            raise ValueError("must hold at least one cloud, each with at least one point")
        with np.errstate(over="ignore"):
            high = self._low + _LEVELS * self._step
        if not np.isfinite(high).all() or not (0 <= self._step).all():
            raise ValueError("the boxes of the clouds must be finite, and step at least 0")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> RawCloud:
        """Cloud of a row, in [0, n); its checksum is verified at the first read.

        Raises:
            ValueError: the checksum differs.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"row must be in [0, {len(self)}); got {row}")
        packed = self._packed(row)
        if not self._checked[row]:
            self._check(row, packed)
        return packed.unpack()

    def verify(self) -> None:
        """Reads and verifies all rows.

        Raises:
            ValueError: a row is damaged.
        """
        for row in range(len(self)):
            self._check(row, self._packed(row))

    def _packed(self, row: int) -> QuantizedCloud:
        every = slice(self._ptr[row], self._ptr[row + 1])
        return QuantizedCloud(self._xyz[every], self._rgb[every], self._low[row], self._step[row])

    def _check(self, row: int, packed: QuantizedCloud) -> None:
        if packed.checksum(self.labels[row]) != self._crc[row]:
            raise self._damaged(f"the checksum of {self.labels[row].name!r} (row {row}) is wrong")
        self._checked[row] = True

    def _damaged(self, what: str) -> ValueError:
        return ValueError(
            f"{self._path} is missing, damaged or no shard of a cloud store: {what}; convert again "
            "into the same folder, which makes damaged shards again"
        )
