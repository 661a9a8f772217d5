"""Body files that were made to do harm: refused by name, quickly, and in little memory."""

from __future__ import annotations

import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fuzz_bodies import body_arrays, limited, packed
from meshes import load_body
from meshes.body.smpl_arrays import node_array
from meshes.body.smpl_pickle import read_nodes

MISSING = "must be a whole pickle file|must hold|must be|must have|must describe|must name|refused"


class Call:
    """Pickled as a call of ``function`` by name, whatever that is."""

    def __init__(self, module: str, name: str, *args: Any, state: Any = None) -> None:
        self.module, self.name, self.args, self.state = module, name, args, state


def crafted(value: Any) -> bytes:
    """Opcodes of protocol 2 for a value that holds calls."""
    if isinstance(value, Call):
        made = f"c{value.module}\n{value.name}\n".encode() + crafted(value.args) + b"R"
        return made if value.state is None else made + crafted(value.state) + b"b"
    if isinstance(value, Global):
        return f"c{value.module}\n{value.name}\n".encode()
    if isinstance(value, tuple):
        return b"(" + b"".join(map(crafted, value)) + b"t"
    if isinstance(value, list):
        return b"(" + b"".join(map(crafted, value)) + b"l"
    if isinstance(value, dict):
        return b"(" + b"".join(crafted(each) for pair in value.items() for each in pair) + b"d"
    if value is None:
        return b"N"
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return b"X" + struct.pack("<I", len(text)) + text
    return f"I{int(value)}\n".encode()


class Global:
    """A name that is not called."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


def array(shape: Any, code: str, raw: bytes, *, fields: Any = None, order: str = "<") -> Call:
    state = (3, order, None, *(fields or (None, None)), -1, -1, 0)
    dtype = Call("numpy", "dtype", code, 0, 1, state=state)
    kind = Global("numpy", "ndarray")
    return Call(
        "numpy.core.multiarray", "_reconstruct", kind, (0,), b"b", state=(1, shape, dtype, 0, raw)
    )


def sparse(shape: Any, indices: list[int], indptr: list[int]) -> Call:
    def numbers(values: list[int], kind: str) -> Call:
        raw = np.array(values, kind).tobytes()
        return array((len(values),), kind, raw)

    state = {
        "_shape": shape,
        "data": numbers([1] * len(indices), "f8"),
        "indices": numbers(indices, "i4"),
        "indptr": numbers(indptr, "i4"),
    }
    return Call("scipy.sparse.csc", "csc_matrix", state=state)


def refused(tmp_path: Path, name: str, value: Any, match: str = MISSING) -> None:
    path = tmp_path / "body.pkl"
    path.write_bytes(b"\x80\x02" + crafted({name: value}) + b".")
    with limited(), pytest.raises(ValueError, match=f"body.pkl: .*({match})"):
        load_body(path)


def test_an_object_array_over_its_own_bytes_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "v_template", array((8,), "O8", b"\x41" * 64), "integers or floats")


@pytest.mark.parametrize("code", ["O", "|O8", "V8", "M8[s]", "S8", "U2", "f16", "c8", "b1", "f4,O"])
def test_types_that_are_no_plain_numbers_are_refused(tmp_path: Path, code: str) -> None:
    refused(tmp_path, "v_template", array((8,), code, b"\x41" * 64), "integers or floats")


def test_a_type_with_fields_of_objects_is_refused(tmp_path: Path) -> None:
    fields = (("a",), {"a": (Call("numpy", "dtype", "O8", 0, 1), 0)})
    refused(tmp_path, "v_template", array((8,), "f8", b"\x41" * 64, fields=fields), "with fields")


@pytest.mark.parametrize(
    ("shape", "raw"),
    [((2**31 - 1, 2**31 - 1), b""), ((2**40,), b""), ((-1, 8), b"\0" * 64), ((8, 3), b"\0" * 24),
     ((2**20, 3), b"\0" * 24), ("ab", b""), (None, b""), ((1,) * 40, b"\0" * 8)],
)  # fmt: skip
def test_shapes_that_do_not_match_the_bytes_are_refused(
    tmp_path: Path, shape: Any, raw: bytes
) -> None:
    refused(tmp_path, "v_template", array(shape, "f8", raw), "bytes for an array|axes|as bytes")


@pytest.mark.parametrize(
    ("indices", "indptr"),
    [
        ([2**31 - 1], [0, 1, *[1] * 9]),
        ([-1], [0, 1, *[1] * 9]),
        ([24], [0, 1, *[1] * 9]),
        ([0], [0, 2**31 - 1, *[1] * 9]),
        ([0], [0, *[2**31 - 1] * 10]),
        ([0], [0, -5, *[1] * 9]),
        ([0], [1] * 11),
        ([0], [0, 1]),
        ([0], []),
        ([0, 1, 2], [0, 3, 1, *[3] * 8]),
    ],
)
def test_sparse_indices_out_of_range_are_refused(
    tmp_path: Path, indices: list[int], indptr: list[int]
) -> None:
    vertices = array((10, 3), "f8", bytes(240))
    matrix = sparse((24, 10), indices, indptr)
    path = tmp_path / "body.pkl"
    path.write_bytes(b"\x80\x02" + crafted({"v_template": vertices, "J_regressor": matrix}) + b".")
    with pytest.raises(ValueError, match=r"body\.pkl: .*(starts|indices).*J_regressor"):
        load_body(path)


def test_a_sparse_matrix_of_gigabytes_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "J_regressor", sparse((2**31 - 1, 2**31 - 1), [], [0]), "at most 0 elements")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy.f2py.f2py2e", "main"),
        ("numpy.f2py", "compile"),
        ("numpy", "fromfile"),
        ("numpy", "memmap"),
        ("numpy.testing._private.utils", "runstring"),
        ("numpy.distutils.exec_command", "exec_command"),
        ("numpy.f2py", "ndarray"),
        ("numpy.core.multiarray", "dtype.__reduce__"),
        ("scipy.sparse.linalg", "csc_matrix.eval"),
        ("scipy.sparse", "load_npz"),
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("__main__", "object"),
        ("copyreg", "__newobj__"),
        ("_codecs", "decode"),
    ],
)
def test_names_that_no_array_needs_are_neither_called_nor_imported(
    tmp_path: Path, module: str, name: str
) -> None:
    before = set(sys.modules)
    refused(tmp_path, "v_template", Call(module, name, "x"), "refused: the file wants to run")
    assert not {each for each in set(sys.modules) - before if each.startswith(("numpy", "scipy"))}


def test_the_name_in_a_refusal_has_no_escapes_of_terminals(tmp_path: Path) -> None:
    path = tmp_path / "body.pkl"
    path.write_bytes(b"\x80\x04\x8c\x05\x1b[31m\x8c\x01x\x93.")
    with pytest.raises(ValueError, match="refused") as error:
        load_body(path)
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize(
    "code",
    [
        b"\x80\x02cnumpy\ndtype\n(X\x02\x00\x00\x00f8t\x85R.",  # arguments in a tuple too many
        b"\x80\x02(X\x01\x00\x00\x00aX\x01\x00\x00\x00btX\x01\x00\x00\x00c\x85R.",  # calls a tuple
        b"\x80\x02cnumpy\ndtype\n(tR(tR.",  # calls what was made
        b"\x80\x02cnumpy\ndtype\n(tRX\x01\x00\x00\x00x\x85R.",
        b"\x80\x02}cnumpy\ndtype\n(tRb.",  # a state for a dict
    ],
)
def test_calls_of_other_objects_than_names_are_refused(tmp_path: Path, code: bytes) -> None:
    path = tmp_path / "body.pkl"
    path.write_bytes(code)
    with pytest.raises(ValueError, match=r"body\.pkl: "):
        load_body(path)


@pytest.mark.parametrize(
    "code", [b"\x80\x02K\x01Q.", b"Pname\n.", b"\x82\x01.", b"\x83\x01\x00.", b"\x80\x05\x97."],
    ids=["persistent", "persistent text", "extension", "extension 2", "outer buffer"],
)  # fmt: skip
def test_values_from_outside_the_file_are_refused(tmp_path: Path, code: bytes) -> None:
    path = tmp_path / "body.pkl"
    path.write_bytes(code)
    with pytest.raises(ValueError, match="refused: the file needs"):
        load_body(path)


def nested(depth: int) -> bytes:
    """A list of ten times the same list of ten times the same list ..."""
    value = b"(" + b"I1\n" * 10 + b"l"
    for _ in range(depth):
        value = b"(" + value + b"2" * 9 + b"l"
    return value


BOMBS = {
    "memo": b"\x80\x02}r\xff\xff\xff\x7f.",
    "memo in text": b"}p99999999999999999999\n.",
    "long text": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    "long bytes": b"\x80\x02B\xff\xff\xff\x7fabc.",
    "frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}.",
    "long number": b"L" + b"9" * 100_000 + b"L\n.",
    "long number of bytes": b"\x8b\xff\xff\xff\x7f1.",
    "lists of lists": b"(Vv_template\n" + nested(12) + b"d.",
    "deep lists": b"(" * 500_000 + b"l" * 500_000 + b".",
    "deep tuples as key": b")" + b"\x85" * 100_000 + b"I1\nd.",
    "shared tuples as key": b"(I1\n\x85" + b"2\x86" * 60 + b"I1\nd.",
    # A thousand lists of a thousand lists of a thousand lists of nothing.
    "lists of nothing": b"(Vv_template\n"
    + b"("
    + (b"(" * 2)
    + b"(l"
    + b"2" * 999
    + b"l"
    + (b"2" * 999 + b"l") * 2
    + b"d.",
    "long number as key": b"}\x8b"
    + struct.pack("<i", 1 << 20)
    + b"\x7f" * (1 << 20)
    + b"r\0\0\0\0"
    + b"0("
    + b"j\0\0\0\0N" * 100_000
    + b"d.",
    "own child": b"(Vv_template\n(lp0\ng0\nad.",
    "steps": b"N0" * 1_500_000 + b"N.",
    "marks": b"(" * 1_000_000 + b".",
    "own array": b"(Vv_template\nccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\ncbuiltins\nobject\nNtR"
    b"p0\n(Vx\ng0\ndbd.",
    "own matrix": b"(Vv_template\ncscipy.sparse\ncsc_matrix\n(tRp0\n(Vshape\n(I0\nI0\ntVdata\ng0\n"
    b"dbd.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_take_little_time_and_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "body.pkl"
    path.write_bytes(BOMBS[name])
    with limited(), pytest.raises(ValueError, match=r"body\.pkl: "):
        load_body(path)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["f2", "<f4", ">f4", "f8", ">f8", "i1", ">i2", "u4", ">i8"])
def test_plain_arrays_of_all_protocols_are_read(protocol: int, kind: str) -> None:
    for shape in ((2, 3), (0,), (), (1, 2, 3)):
        values = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(kind)
        for given in (values, np.asfortranarray(values), values[::-1] if shape else values):
            content = pickle.dumps({"a": given, "b": OrderedDict(c={1, 2})}, protocol=protocol)
            found = node_array(read_nodes(content)["a"], 0)
            assert found.dtype.newbyteorder("=") == values.dtype.newbyteorder("=")
            np.testing.assert_array_equal(found, given)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("form", ["csc", "csr", "coo"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_sparse_matrices_of_all_protocols_are_read(protocol: int, form: str, kind: str) -> None:
    import scipy.sparse

    dense = np.zeros((24, 50))
    dense[np.arange(24), np.arange(24) * 2] = np.arange(1, 25)
    for given in (dense, np.zeros((24, 50)), -dense):
        matrix = getattr(scipy.sparse, f"{form}_{kind}")(given)
        content = pickle.dumps(matrix, protocol=protocol)
        np.testing.assert_array_equal(node_array(read_nodes(content), 1200), given)


def test_repeated_places_of_a_sparse_matrix_are_added() -> None:
    from scipy.sparse import coo_matrix

    matrix = coo_matrix(([1.0, 2.0, 4.0], ([0, 0, 1], [1, 1, 0])), (2, 2))
    found = node_array(read_nodes(pickle.dumps(matrix)), 4)
    np.testing.assert_array_equal(found, [[0, 3], [4, 0]])


def test_text_of_python_2_is_read() -> None:
    raw = np.array([1.5, -2.25e300])
    text = repr(raw.tobytes())[1:]  # as Python 2 wrote its bytes in protocol 0
    content = (
        b"cnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\np2\n(I0\ntp3\nS'b'\np4\ntp5\nR"
        b"p6\n(I1\n(I2\ntp7\ncnumpy\ndtype\np8\n(S'f8'\np9\nI0\nI1\ntp10\nRp11\n(I3\nS'<'\np12\nNNNI-1\n"
        b"I-1\nI0\ntp13\nbI00\nS" + text.encode() + b"\np14\ntp15\nb."
    )
    np.testing.assert_array_equal(node_array(read_nodes(content), 0), raw)


@pytest.mark.parametrize("protocol", range(6))
def test_a_body_of_all_protocols_is_read(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "body.pkl"
    path.write_bytes(pickle.dumps(body_arrays(), protocol=protocol))
    body = load_body(path)
    assert torch.equal(body.v_template, torch.from_numpy(body_arrays()["v_template"]).float())


def test_lists_of_numbers_are_read(tmp_path: Path) -> None:
    arrays = {name: array.tolist() for name, array in body_arrays().items()}
    (tmp_path / "body.pkl").write_bytes(pickle.dumps(arrays))
    assert load_body(tmp_path / "body.pkl").num_vertices == len(arrays["v_template"])


def test_zeros_that_are_packed_a_thousand_times_are_refused_by_their_header(tmp_path: Path) -> None:
    path = tmp_path / "body.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("v_template", "shapedirs", "J_regressor", "weights", "kintree_table", "f"):
            with archive.open(f"{name}.npy", "w") as stream:
                header = {"descr": "<f8", "fortran_order": False, "shape": (2**20, 16)}
                np.lib.format.write_array_header_1_0(stream, header)
                for _ in range(128):
                    stream.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    with (
        limited(),
        pytest.raises(ValueError, match=r"body\.npz: must hold arrays of at most 512 MiB"),
    ):
        load_body(path)


NPZ_MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "empty": ({"v_template": np.zeros((0, 3))}, "v_template"),
    "flat": ({"v_template": np.zeros(3)}, "v_template"),
    "objects": ({"f": np.array([[None]])}, "integers or floats"),
    "complex": ({"f": np.zeros((1, 3), complex)}, "integers or floats"),
    "text": ({"f": np.array([["a"]])}, "integers or floats"),
    "no faces": ({"f": np.zeros((0, 3), int)}, r"f of shape \(F, 3\)"),
    "outside faces": ({"f": np.full((1, 3), 10**6)}, "faces must hold vertex indices"),
    "NaN faces": ({"f": np.full((1, 3), np.nan)}, "indices in f"),
    "broken faces": ({"f": np.full((1, 3), 0.5)}, "indices in f"),
    "huge faces": ({"f": np.full((1, 3), 2**63, np.uint64)}, "indices in f"),
    "a table of one row": ({"kintree_table": np.zeros((1, 24), int)}, "kintree_table"),
    "a table of no rows": ({"kintree_table": np.zeros((0,), int)}, "kintree_table"),
    "a circle": ({"kintree_table": np.full((2, 24), 23)}, "parents"),
    "no shapes": ({"shapedirs": np.zeros((64, 3, 0))}, "shapedirs"),
    "posedirs": ({"posedirs": np.zeros((64, 3, 9))}, "posedirs"),
}


@pytest.mark.parametrize("name", NPZ_MISTAKES)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, name: str) -> None:
    changes, message = NPZ_MISTAKES[name]
    (tmp_path / "body.npz").write_bytes(packed({**body_arrays(), **changes}))
    with pytest.raises(ValueError, match=rf"body\.npz: .*{message}"):
        load_body(tmp_path / "body.npz")


@pytest.mark.parametrize("name", ["v_template", "shapedirs", "J_regressor", "weights"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_not_finite_are_named(tmp_path: Path, name: str, value: float) -> None:
    arrays = {key: array.astype(np.float64) for key, array in body_arrays().items()}
    arrays[name].flat[0] = value
    (tmp_path / "body.npz").write_bytes(packed(arrays))
    with pytest.raises(ValueError, match=rf"body\.npz: must hold finite numbers; {name}"):
        load_body(tmp_path / "body.npz")


@pytest.mark.parametrize("factor", [100, 1000, 0.01])
def test_bodies_in_other_units_are_refused(tmp_path: Path, factor: float) -> None:
    arrays = body_arrays()
    arrays["v_template"] = arrays["v_template"] * factor
    (tmp_path / "body.npz").write_bytes(packed(arrays))
    with pytest.raises(ValueError, match=r"body in metres.* measures"):
        load_body(tmp_path / "body.npz")


def test_a_lying_body_is_refused(tmp_path: Path) -> None:
    arrays = body_arrays()
    arrays["v_template"] = arrays["v_template"][:, [1, 0, 2]].copy()
    (tmp_path / "body.npz").write_bytes(packed(arrays))
    with pytest.raises(ValueError, match="T-pose, y up"):
        load_body(tmp_path / "body.npz")
