"""Structure-preserving mutations of files, so that fuzzing reaches the inner parsers.

A plain mutation of a zip, safetensors, PNG or Arrow file fails at its check sums and lengths. Here
one value, member, tensor, chunk or row is changed, and the file around it is rebuilt.
"""

from __future__ import annotations

import io
import json
import math
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

__all__ = ["dictionary", "mutated"]

#: Mutation of plain bytes, with a largest size.
Plain = Callable[[bytes, int], bytes]

_MOST = 1 << 20  # largest unpacked size, bytes
_PNG = b"\x89PNG\r\n\x1a\n"
_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 2**31, -(2**31) - 1, 2**53 + 1, 2**63, 10**25, 10**400, 0.5,
    -0.0, 1e-320, 1e308, float("nan"), float("inf"), "", "a", "0", "nan", "\0", "../a", "/",
    "\ud800", "\u0661", "a" * 300, [], {}, [[]], [None], [0], ["a"], {"a": 0},
    [[0.0] * 3] * 17, [1] * 51,
)  # fmt: skip
_NUMBERS = (
    "0",
    "-1",
    "1e999",
    "nan",
    "-inf",
    "999999999999",
    "99999999999999999999999",
    "1_0",
    "٣",
)
_WORDS = {
    ".ply": (
        "ply\n", "format ascii 1.0\n", "format binary_little_endian 1.0\n", "end_header\n",
        "format binary_big_endian 1.0\n", "comment a\n", "obj_info a\n", "element vertex 3\n",
        "element face 1\n", "element void 999999999\n", "property double x\n", "property float y\n",
        "property uchar red\n", "property ushort green\n", "property float32 z\n", "\r\n",
        "property list uchar int vertex_indices\n", "property list uint float a\n", " alpha\n",
        "diffuse_red", "f_dc_0", "int8", "uint16", "float64",
    ),
    ".obj": (
        "v ", "vn ", "vt ", "f ", "o a\n", "g a\n", "mtllib a\n", "usemtl a\n", "# ", "\\\n", "\r",
        "1//1", "1/1/1", "-1", "\t", "\ufeff", "v 0 0 0 1 1 1\n", "f 1 2 3\n",
        "# number of vertices: 9", "# https://github.com/mikedh/trimesh",
    ),
    ".csv": (
        ",", ";", "\t", '"', '""', "\r\n", "\r", "sep=;\n", "\ufeff", "path", "pid", "camid",
        "split", "train", "query", "gallery", "name", "../", "a\\b", "\0", "occluder", "yaw",
    ),
    ".yaml": (
        ": ", "- ", "? ", "{", "}", "[", "]", "&d ", "*d", "<<: *d", "!!binary ", "!!set", "!!omap",
        "!!python/object:os.system", "!!timestamp ", "!!float ", "null", "~", "true", "yes", "0x7f",
        "1:30", "1_0", ".nan", ".inf", "---\n", "...\n", "%YAML 1.1\n", "|\n", ">\n", "#", "'", '"',
        "2001-01-01", "\u2028",
    ),
    ".xml": (
        "<Item ", "/>", "<", ">", 'imageName="', 'vehicleID="', 'cameraID="', "<!--", "-->",
        "<!DOCTYPE a [", '<!ENTITY a "b">', "&a;", "&#0;", "<![CDATA[", "]]>", "gb2312",
        "<?xml version='1.0' encoding='utf-16'?>",
    ),
    ".json": ("true", "false", "null", "NaN", "Infinity", '""', "[]", "{}", "\\u0000", "\\ud800"),
    ".pkl": (
        "cnumpy.core.multiarray\n_reconstruct\n", "cnumpy\nndarray\n", "cnumpy\ndtype\n", "(", "t",
        "cscipy.sparse._csc\ncsc_matrix\n", "c__builtin__\ngetattr\n", "R", "b", ".", "}", "(lp0\n",
        "ccopy_reg\n_reconstructor\n", "cos\nsystem\n", "I-1\n", "L99999999999L\n", "Vv_template\n",
    ),
    ".txt": (" ", "\n", "\t", "\r\n", "\ufeff"),
}  # fmt: skip
_BINARY = (
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"\0" * 8,
    b"PK\x03\x04",
    b"IHDR",
)


def dictionary(ending: str) -> str:
    """Dictionary of a format for libFuzzer, one word a line."""
    words = [word.encode() for word in (*_WORDS.get(ending, ()), *_NUMBERS)]
    lines = ["".join(f"\\x{byte:02x}" for byte in word) for word in (*words, *_BINARY)]
    return "".join(f'"{line}"\n' for line in lines)


def mutated(data: bytes, size: int, seed: int, ending: str, plain: Plain) -> bytes:
    """Mutated file of at most ``size`` bytes.

    Args:
        data: Content of the file.
        size: Largest size of the result, bytes.
        seed: Seed of the mutation.
        ending: Ending of the file name, such as ``.npz``.
        plain: Mutation of bytes without structure.
    """
    random = Random(seed)
    change = _structure(data, ending)
    if change is None or random.random() < 0.2:
        return plain(data, size)
    try:
        changed = change(data, random, plain)
    except Exception:  # damaged by an earlier change
        return plain(data, size)
    return changed if len(changed) <= size else plain(data, size)


def _structure(data: bytes, ending: str) -> Callable[[bytes, Random, Plain], bytes] | None:
    if data[:2] == b"PK":
        return _zip
    if data[:8] == _PNG:
        return _png
    named = {".safetensors": _safetensors, ".arrow": _shard, ".json": _json, ".mat": _mat}
    return named.get(ending)


def _json(data: bytes, random: Random, plain: Plain) -> bytes:
    """Mutates one value of a JSON text."""
    content = [json.loads(data.decode("utf-8-sig"))]
    places = list(_places(content))
    holder, key = random.choice(places)
    value = holder[key]
    match random.randrange(6):
        case 0 | 1:
            holder[key] = random.choice(_ODD)
        case 2:
            other, name = random.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
        case 3 if holder is not content:
            del holder[key]
        case 4 if isinstance(holder, list):
            holder[key:key] = [value] * random.choice((1, 2, 17))
        case 4:
            holder[_text(str(key), plain)] = value
        case _ if isinstance(value, str):
            holder[key] = _inner(value, random, plain)
        case _ if isinstance(value, int | float):
            holder[key] = random.choice((-value, value + 1, value * 1000, str(value), [value]))
        case _:
            holder[key] = [value]
    return json.dumps(content[0] if content else None).encode()


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    keys = range(len(content)) if isinstance(content, list) else list(content)
    for key in keys:
        yield content, key
        if isinstance(content[key], list | dict):
            yield from _places(content[key])


def _inner(text: str, random: Random, plain: Plain) -> str:
    """Mutates a text, which may itself be JSON."""
    if text[:1] in ("{", "["):
        return _json(text.encode(), random, plain).decode()
    return _text(text, plain)


def _text(text: str, plain: Plain) -> str:
    return plain(text.encode("utf-8", "replace"), len(text) + 40).decode("utf-8", "replace")


def _zip(data: bytes, random: Random, plain: Plain) -> bytes:
    """Mutates one member of an archive, with correct check sums."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        if not infos or sum(each.file_size for each in infos) > _MOST:
            return plain(data, len(data) + 64)
        members = [(each.filename, each.compress_type, archive.read(each)) for each in infos]
    index = random.randrange(len(members))
    name, method, content = members[index]
    match random.randrange(10):
        case 0:
            del members[index]
        case 1:
            members.append((_text(name, plain), method, content))
        case 2:
            method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
            members[index] = (name, method, content)
        case 3:
            members[index] = (name, method, random.choice(members)[2])
        case _ if content[:6] == b"\x93NUMPY":
            members[index] = (name, method, _npy(content, random, plain))
        case _:
            members[index] = (name, method, plain(content, len(content) + 64))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, method, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def _npy(content: bytes, random: Random, plain: Plain) -> bytes:
    """Mutates the header or the numbers, or replaces the array."""
    (length,) = struct.unpack("<H", content[8:10])
    header, numbers = content[10 : 10 + length], content[10 + length :]
    match random.randrange(4):
        case 0:
            header = plain(header, 400)
        case 1:
            numbers = plain(numbers, len(numbers) + 64)
        case 2:
            header = header.replace(b"False", b"True")
        case _:
            kind = random.choice(("<f2", "<f4", ">f8", "u1", "<i8", "<u8", "?", "<U1", "S2", "c8"))
            sides: list[int] | tuple[int, ...] = [
                random.choice((0, 1, 2, 3, 4, 17, 24, 10**10, 10**22))
                for _ in range(random.randrange(4))
            ]
            if random.random() < 0.5:  # unchanged shape
                sides = np.load(io.BytesIO(content), allow_pickle=False).shape
            size = math.prod(sides) * np.dtype(kind).itemsize
            size = size if size < _MOST else 64
            numbers = random.choice((bytes(size), b"\xff" * size, random.randbytes(size)))
            shape = f"({', '.join(map(str, sides))}{',' * (len(sides) == 1)})"
            text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
            header = text.encode() + b"\n"
    return content[:8] + struct.pack("<H", len(header)) + header + numbers


def _safetensors(data: bytes, random: Random, plain: Plain) -> bytes:
    """Mutates metadata, or type, shape or content of a tensor; mostly without the digest."""
    (length,) = struct.unpack("<Q", data[:8])
    header, numbers = json.loads(data[8 : 8 + length]), data[8 + length :]
    metadata = header.pop("__metadata__", {})
    if random.random() < 0.9:  # the digest reveals any other change
        metadata.pop("sha256", None)
    tensors = {
        name: (each["dtype"], each["shape"], numbers[slice(*each["data_offsets"])])
        for name, each in header.items()
    }
    if random.random() < 0.4 or not tensors:
        metadata = json.loads(_json(json.dumps(metadata).encode(), random, plain))
    else:
        name = random.choice(sorted(tensors))
        dtype, shape, content = tensors[name]
        match random.randrange(5):
            case 0:
                del tensors[name]
            case 1:
                tensors[_text(name, plain)] = tensors[name]
            case 2:
                tensors[name] = (dtype, shape, plain(content, len(content)))
            case 3:
                dtype = random.choice(
                    ("F16", "BF16", "F32", "F64", "I8", "I64", "U8", "BOOL", "U64")
                )
            case _:
                shape = [random.choice((0, 1, 2, 3, 4, 8)) for _ in range(random.randrange(4))]
        if name in tensors and tensors[name][:2] != (dtype, shape):
            bits = 8 if dtype in ("I8", "U8", "BOOL") else int(dtype.lstrip("BFIU"))
            size = int(np.prod(shape)) * bits // 8
            tensors[name] = (dtype, shape, (content * (size // max(len(content), 1) + 1))[:size])
    place, body = 0, b""
    entries: dict[str, Any] = {"__metadata__": metadata}
    for name, (dtype, shape, content) in tensors.items():
        stop = place + len(content)
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, stop]}
        place, body = stop, body + content
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + body


def _png(data: bytes, random: Random, plain: Plain) -> bytes:
    """Mutates one chunk, with correct length and check sum; image data is unpacked for it."""
    chunks, place = [], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    index = random.randrange(len(chunks))
    kind, content = chunks[index]
    if kind == b"IDAT" and random.random() < 0.5:
        pixels = zlib.decompressobj().decompress(content, _MOST)
        content = zlib.compress(plain(pixels, len(pixels) + 64))
    else:
        content = plain(content, len(content) + 64)
    if random.random() < 0.3:
        extra = (b"tRNS", b"PLTE", b"iTXt", b"zTXt", b"tEXt", b"eXIf", b"acTL", b"iCCP", b"gAMA")
        chunks.insert(index, (random.choice(extra), content[:300]))
    else:
        chunks[index] = (kind, content)
    return _PNG + b"".join(
        struct.pack(">I", len(content)) + kind + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )  # fmt: skip


def _mat(data: bytes, random: Random, plain: Plain) -> bytes:
    """Mutates one variable of a Matlab file, and packs it again."""
    if 0 in data[:4]:  # version 4: numbers one after another
        return plain(data, len(data) + 64)
    elements, place = [], 128
    while place + 8 <= len(data):
        kind, length = struct.unpack("<II", data[place : place + 8])
        elements.append((kind, data[place + 8 : place + 8 + length]))
        place += 8 + length
    index = random.randrange(len(elements))
    kind, content = elements[index]
    if kind == 15:
        inner = zlib.decompressobj().decompress(content, _MOST)
        content = zlib.compress(plain(inner, len(inner) + 64))
    else:
        content = plain(content, len(content) + 64)
    elements[index] = (kind, content)
    return data[:128] + b"".join(struct.pack("<II", kind, len(each)) + each
                                 for kind, each in elements)  # fmt: skip


def _shard(data: bytes, random: Random, plain: Plain) -> bytes:
    """Mutates a row of a shard, with correct check sum."""
    from og_reid.data.clouds.shard import CloudLabel, QuantizedCloud, Shard, write_shard

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.arrow"
        path.write_bytes(data)
        shard = Shard(path)
        (label, *_), packed = shard.labels, QuantizedCloud.pack(shard[0])
        fields = {"name": label.name, "split": label.split, "pid": label.pid, "camid": label.camid}
        arrays = {name: getattr(packed, name) for name in ("xyz", "rgb", "low", "step")}
        name = random.choice((*fields, *arrays))
        if name in ("name", "split"):
            fields[name] = _text(str(fields[name]), plain)
        elif name in fields:
            fields[name] = random.choice((-2, -1, 0, 2**31, 2**63 - 1, -(2**63)))
        else:
            array = arrays[name]
            content = plain(array.tobytes(), array.nbytes).ljust(array.nbytes, b"\0")
            arrays[name] = np.frombuffer(content, array.dtype).reshape(array.shape)
        rows = [(CloudLabel(**fields), QuantizedCloud(**arrays))] * random.choice((1, 1, 2))  # type: ignore[arg-type]
        write_shard(path, rows, fingerprint=shard.fingerprint)
        return path.read_bytes()
