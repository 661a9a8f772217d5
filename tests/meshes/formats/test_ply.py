"""PLY files of any writer, encoding, types and order of elements."""

from __future__ import annotations

import os
import time
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meshes import PointCloud, read_pointcloud, write_pointcloud
from ply_bytes import ENCODINGS, Column, columns, ply_bytes, triangles

COUNT = 6
draw = np.random.default_rng(0)
POINTS = draw.uniform(-1, 1, (COUNT, 3)).astype(np.float32)
BYTES = draw.integers(0, 256, (COUNT, 3))
BYTES[0] = [0, 128, 255]
XYZ = columns("float", "x y z", POINTS)
RGB = columns("uchar", "red green blue", BYTES)


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    """Sound files are read without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def read(folder: Path, data: bytes) -> PointCloud:
    (folder / "a.ply").write_bytes(data)
    return read_pointcloud(folder / "a.ply")


def check(cloud: PointCloud, colors: np.ndarray | None = None) -> None:
    np.testing.assert_array_equal(cloud.points.numpy(), POINTS)
    expected = BYTES / 255 if colors is None else colors
    np.testing.assert_allclose(cloud.colors.numpy(), expected, atol=1e-6)
    assert bool(cloud.visible.all())


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", ["float", "float32", "double", "float64"])
def test_positions_of_any_float_type(tmp_path, encoding, kind):
    check(read(tmp_path, ply_bytes({"vertex": columns(kind, "x y z", POINTS) + RGB}, encoding)))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", ["short", "int", "int32", "ushort", "uchar"])
def test_positions_of_integer_types(tmp_path, encoding, kind):
    whole = np.arange(COUNT * 3).reshape(COUNT, 3)
    cloud = read(tmp_path, ply_bytes({"vertex": columns(kind, "x y z", whole) + RGB}, encoding))
    np.testing.assert_array_equal(cloud.points.numpy(), whole)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("kind", "largest"),
    [
        ("uchar", 255), ("uint8", 255), ("ushort", 65535), ("uint16", 65535), ("char", 127),
        ("short", 32767), ("uint", 2**32 - 1), ("int", 2**31 - 1), ("float", 1), ("double", 1),
    ],
)  # fmt: skip
def test_colours_are_divided_by_the_largest_value_of_their_type(tmp_path, encoding, kind, largest):
    colors = BYTES / 255 * largest
    colors = colors.round().astype(np.int64) if largest > 1 else colors.astype(np.float32)
    data = ply_bytes({"vertex": XYZ + columns(kind, "red green blue", colors)}, encoding)
    check(read(tmp_path, data), colors / largest)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", ["int", "uint32"])
def test_colours_of_eight_bits_in_wide_integers(tmp_path, encoding, kind):
    data = ply_bytes({"vertex": XYZ + columns(kind, "red green blue", BYTES)}, encoding)
    check(read(tmp_path, data))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("float", BYTES.astype(float), r"colors must be in \[0, 1\]; got 0..255: divide 8-bit"),
        ("double", BYTES * 257.0, "divide 16-bit colours by 65535"),
        ("float", -BYTES / 255, r"colors must be in \[0, 1\]; got -1..0"),
        ("char", -(BYTES // 2), "colors of type int8 must be in 0..127"),
        ("short", -BYTES, "colors of type int16 must be in 0..32767"),
        ("int", BYTES * 257, "colors of type int32 must be in 0..255 or use the range"),
    ],
)
def test_colours_of_other_ranges_are_refused(tmp_path, encoding, kind, values, message):
    data = ply_bytes({"vertex": XYZ + columns(kind, "red green blue", values)}, encoding)
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, data)
    assert str(caught.value).startswith(f"{tmp_path / 'a.ply'}: colors")


def test_eight_bits_in_sixteen_are_doubtful(tmp_path):
    data = ply_bytes({"vertex": XYZ + columns("ushort", "red green blue", BYTES)})
    with pytest.warns(UserWarning, match=r"a\.ply: colours of type uint16 .* 8-bit colours must"):
        read(tmp_path, data)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "names",
    ["red green blue", "RED Green bLUE", "diffuse_red diffuse_green diffuse_blue", "r g b"],
)
def test_the_usual_names_of_colours(tmp_path, encoding, names):
    check(read(tmp_path, ply_bytes({"vertex": XYZ + columns("uchar", names, BYTES)}, encoding)))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_gaussian_splats_have_harmonics_of_degree_0(tmp_path, encoding):
    splats = np.array([[0.0, 1.0, -1.0], [1.7, -1.7, 0.5], [9.0, -9.0, 0.1]])
    harmonics = columns("float", "f_dc_0 f_dc_1 f_dc_2", splats.astype(np.float32))
    rest = columns("float", "f_rest_0 opacity", np.full((3, 2), 7.0))
    normals = columns("float", "nx ny nz", np.zeros((3, 3)))
    vertex = columns("float", "x y z", POINTS[:3]) + normals + harmonics + rest
    cloud = read(tmp_path, ply_bytes({"vertex": vertex}, encoding))
    expected = np.clip(0.5 + 0.28209479177387814 * splats, 0, 1)
    np.testing.assert_allclose(cloud.colors.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_newlines_of_all_systems(tmp_path, encoding, newline):
    check(read(tmp_path, ply_bytes({"vertex": XYZ + RGB}, encoding, newline=newline)))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_line_feed_as_the_first_byte_of_data(tmp_path, encoding):
    number = np.frombuffer(b"\n\n\n\n", "<f4")[0]  # the same in either order
    points = np.full((COUNT, 3), number)
    for newline in ("\n", "\r\n", "\r"):
        data = ply_bytes({"vertex": columns("float", "x y z", points) + RGB}, encoding,
                         newline=newline)  # fmt: skip
        np.testing.assert_array_equal(read(tmp_path, data).points.numpy(), points)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("length", ["uchar", "int", "uint"])
def test_the_vertices_lie_anywhere_among_other_elements(tmp_path, encoding, ragged, length):
    faces = triangles(5, COUNT, length, ragged)
    colored = [*faces, *columns("uchar", "red green blue", np.full((5, 3), 9))]
    camera = columns("double", "view_px view_py", np.zeros((2, 2)))
    empty = [Column("int", "unused", [])]
    for elements in (
        {"vertex": XYZ + RGB, "face": colored},
        {"face": colored, "vertex": XYZ + RGB},
        {"camera": camera, "face": colored, "edge": camera, "vertex": XYZ + RGB, "material": empty},
        {"material": empty, "camera": camera, "vertex": RGB + XYZ, "face": faces},
    ):
        check(read(tmp_path, ply_bytes(elements, encoding)))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("lengths", [[0], [1], [2], [1, 0, 2]])
def test_lists_beside_the_coordinates(tmp_path, encoding, lengths):
    lists = [[1.0] * lengths[row % len(lengths)] for row in range(COUNT)]
    vertex = [XYZ[0], Column("double", "weights", lists, "uchar"), *XYZ[1:], *RGB]
    check(read(tmp_path, ply_bytes({"vertex": vertex}, encoding)))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_further_columns_are_left_out(tmp_path, encoding):
    vertex = [
        *columns("float", "nx ny nz", POINTS), *RGB, Column("uchar", "alpha", [0] * COUNT),
        *columns("double", "s t scalar_intensity", POINTS), *XYZ,
        Column("int", "label", range(COUNT)),
    ]  # fmt: skip
    check(read(tmp_path, ply_bytes({"vertex": vertex}, encoding)))


def test_files_named_in_comments_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    comments = [
        "comment TextureFile pipe.png", "comment end_header", "obj_info of a scanner", "comment",
        "comment größe \u4eba",
    ]  # fmt: skip
    vertex = XYZ + RGB + columns("float", "texture_u texture_v", POINTS[:, :2])
    faces = [*triangles(2, COUNT), Column("float", "texcoord", [[0.0] * 6] * 2, "uchar")]
    check(read(tmp_path, ply_bytes({"vertex": vertex, "face": faces}, comments=comments)))
    for name in ("/dev/zero", "/dev/stdin"):
        check(
            read(tmp_path, ply_bytes({"vertex": vertex}, comments=[f"comment TextureFile {name}"]))
        )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_national_grids_are_centred_before_they_are_rounded(tmp_path, encoding):
    place = POINTS + np.array([4.5e5, 5.4e6, 120.0])
    vertex = columns("double", "x y z", place) + RGB
    found = read(tmp_path, ply_bytes({"vertex": vertex}, encoding)).points.double().numpy()
    np.testing.assert_allclose(found, place - place.mean(0), atol=1e-6)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("faces", [True, False])
def test_files_of_open3d_are_read(tmp_path, binary, faces):
    open3d = pytest.importorskip("open3d")
    path = str(tmp_path / "a.ply")
    points = open3d.utility.Vector3dVector(POINTS.astype(float))
    colors = open3d.utility.Vector3dVector(BYTES / 255)
    if faces:
        mesh = open3d.geometry.TriangleMesh(points, open3d.utility.Vector3iVector([[0, 1, 2]]))
        mesh.vertex_colors = colors
        open3d.io.write_triangle_mesh(path, mesh, write_ascii=not binary)
    else:
        cloud = open3d.geometry.PointCloud(points)
        cloud.colors, cloud.normals = colors, points
        open3d.io.write_point_cloud(path, cloud, write_ascii=not binary)
    found = read_pointcloud(path)
    np.testing.assert_allclose(found.points.numpy(), POINTS, atol=1e-5)
    np.testing.assert_allclose(found.colors.numpy(), BYTES / 255, atol=1e-6)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("points", [np.float32, np.float64])
@pytest.mark.parametrize("colors", [np.uint8, np.uint16, np.float32, np.float64])
def test_files_of_open3d_tensors_are_read(tmp_path, binary, points, colors):
    open3d = pytest.importorskip("open3d")
    largest = np.iinfo(colors).max if np.issubdtype(colors, np.integer) else 1
    cloud = open3d.t.geometry.PointCloud()
    cloud.point.positions = open3d.core.Tensor(POINTS.astype(points))
    cloud.point.colors = open3d.core.Tensor((BYTES / 255 * largest).astype(colors))
    cloud.point.label = open3d.core.Tensor(np.ones((COUNT, 1), np.int32))
    path = str(tmp_path / "a.ply")
    open3d.t.io.write_point_cloud(path, cloud, write_ascii=not binary)
    found = read_pointcloud(path)
    np.testing.assert_allclose(found.points.numpy(), POINTS, atol=1e-5)
    np.testing.assert_allclose(found.colors.numpy(), BYTES / 255, atol=2e-5)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
@pytest.mark.parametrize("faces", [True, False])
def test_files_of_trimesh_are_read(tmp_path, encoding, faces):
    trimesh = pytest.importorskip("trimesh")
    colors = BYTES.astype(np.uint8)
    geometry: Any = trimesh.PointCloud(POINTS, colors=colors)
    if faces:
        geometry = trimesh.Trimesh(POINTS, [[0, 1, 2]], vertex_colors=colors, process=False)
    found = read(tmp_path, trimesh.exchange.ply.export_ply(geometry, encoding=encoding))
    np.testing.assert_allclose(found.points.numpy(), POINTS, atol=1e-7)
    np.testing.assert_allclose(found.colors.numpy(), BYTES / 255, atol=1e-6)


def test_own_files_are_read_back(tmp_path):
    cloud = PointCloud(
        torch.from_numpy(POINTS), torch.from_numpy(BYTES / 255).float(),
        part=torch.tensor([-1, 0, 1, 2, 3, 100_000]),
    )  # fmt: skip
    write_pointcloud(tmp_path / "own.ply", cloud)
    found = read_pointcloud(tmp_path / "own.ply")
    check(found)
    assert torch.equal(found.part, cloud.part)


def test_a_reference_frame_is_turned(tmp_path):
    (tmp_path / "a.ply").write_bytes(ply_bytes({"vertex": XYZ + RGB}))
    turned = read_pointcloud(tmp_path / "a.ply", frame="reference")
    np.testing.assert_array_equal(turned.points.numpy(), POINTS * [1, -1, -1])
    with pytest.raises(ValueError, match="frame must be None or one of"):
        read_pointcloud(tmp_path / "a.ply", frame="z-up")


HEADER = b"ply\nformat ascii 1.0\nelement vertex 2\n"
SIX = b"".join(b"property float %s\n" % name for name in b"x y z red green blue".split())
MIXED = SIX.replace(b"float red", b"uchar red")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must start with the line 'ply'"),
        (b"plyx\n", "must start with the line 'ply'"),
        (HEADER, "end_header; got a file that is cut short"),
        (HEADER.replace(b"1.0", b"2.0") + b"end_header\n", "got 'format ascii 2.0'"),
        (HEADER.replace(b"2\n", b"-2\n") + b"end_header\n", "got 'element vertex -2'"),
        (HEADER + b"property float3 x\nend_header\n", "got 'property float3 x'"),
        (HEADER + b"property list float int x\nend_header\n", "got 'property list float int x'"),
        (b"ply\nelement vertex 2\nproperty float x\nend_header\n1\n2\n", "a line 'format'"),
        (b"ply\nformat ascii 1.0\nelement face 0\nend_header\n", "one element vertex; got face"),
        (HEADER.replace(b"2\n", b"0\n") + SIX + b"end_header\n", "at least one vertex; got none"),
        (HEADER + SIX + SIX + b"end_header\n", "columns of different names"),
        (HEADER + SIX + b"end_header\n1 2 3 0 0 0\n", "2 vertices; got a file that is cut short"),
        (HEADER + SIX + b"end_header\n1 2 3 0 0 0\n1 2 3 0  0\n", r"a\.ply"),
        (HEADER + SIX + b"end_header\n" + b"\n" * 99, "2 vertices; got a file that is cut short"),
        (HEADER + SIX + b"end_header\n1 2 3 0 0 0\n1 2 3 0 0 x\n", r"a\.ply"),
        (HEADER + SIX + b"end_header\n1 2 3 0 0 0\n1 2 nan 0 0 0\n", "points must be finite"),
        (
            HEADER + MIXED + b"end_header\n" + b"1 2 3 300 0 0\n" * 2,
            "integers in 0..255 in the column red; got 300",
        ),
        (
            HEADER + MIXED + b"end_header\n" + b"1 2 3 3 0 0\n" * 2,
            "red, green, blue of one type",
        ),
        (HEADER + SIX.replace(b"red", b"intensity") + b"end_header\n" + b"1 2 3 0 0 0\n" * 2,
         r"vertex colours \(red, green, blue\); the vertex columns are x, y, z, intensity, green"),
        (HEADER + SIX.replace(b" x", b" u") + b"end_header\n" + b"1 2 3 0 0 0\n" * 2,
         "columns x, y, z; the vertex columns are u, y, z"),
    ],
)  # fmt: skip
def test_damaged_files_are_named(tmp_path, data, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, data)
    assert str(caught.value).startswith(str(tmp_path / "a.ply"))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("first", ["vertex", "face"])
def test_each_cut_before_the_last_vertex_is_noticed(tmp_path, encoding, first):
    elements = {"vertex": XYZ + RGB, "face": triangles(3, COUNT, "uchar", True)}
    if first == "face":
        elements = dict(reversed(elements.items()))
    else:
        del elements["face"]
    data = ply_bytes(elements, encoding)
    spare = 1 if encoding != "ascii" else 5  # "255\n" is whole without its newline, or as "2"
    for stop in range(len(data) - spare):
        with pytest.raises(ValueError, match=r"a\.ply"):
            read(tmp_path, data[:stop])


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "promise",
    [
        b"element vertex 4000000\n", b"element vertex 999999999999\n",
        b"element face 999999999999\nproperty list uchar int i\nelement vertex 6\n",
        b"element face 4000000\nproperty list uint double i\nelement vertex 6\n",
        b"element camera 999999999999\nproperty double a\nelement vertex 6\n",
    ],
)  # fmt: skip
def test_false_sizes_in_a_header_allocate_nothing(tmp_path, encoding, promise):
    data = ply_bytes({"vertex": XYZ + RGB}, encoding).replace(b"element vertex 6\n", promise)
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ValueError, match=r"a\.ply"):
        read(tmp_path, data)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert time.process_time() - start < 5


def test_elements_without_properties_allocate_nothing(tmp_path):
    for encoding in ENCODINGS:
        data = ply_bytes({"vertex": XYZ + RGB}, encoding)
        promise = b"element void 999999999999999999\nelement vertex"
        check(read(tmp_path, data.replace(b"element vertex", promise)))


def test_a_byte_order_mark_before_the_text_is_skipped(tmp_path):
    data = ply_bytes({"vertex": XYZ + RGB}, "ascii", newline="\r\n")
    check(read(tmp_path, b"\xef\xbb\xbf" + data))


def test_pipes_and_folders_are_no_clouds(tmp_path):
    os.mkfifo(tmp_path / "pipe.ply")
    (tmp_path / "folder.ply").mkdir()
    for name in ("pipe.ply", "folder.ply"):
        with pytest.raises(ValueError, match=f"{name}: must be a regular file"):
            read_pointcloud(tmp_path / name)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_sparse_files_are_refused_unread(tmp_path, encoding):
    wide = columns("double", "x y z", POINTS) + [
        Column("double", f"c{index}", [0.0] * COUNT) for index in range(100)
    ]
    data = ply_bytes({"vertex": wide}, encoding)
    path = tmp_path / "a.ply"
    path.write_bytes(data.replace(b"element vertex 6\n", b"element vertex 5000000\n"))
    os.truncate(path, 2**33)  # takes no space
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"must (be|hold) at most [0-9]+ bytes"):
        read_pointcloud(path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
