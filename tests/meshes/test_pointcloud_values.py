"""Positions and colours of any numeric type, and archives that promise more than is wanted."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from meshes import PointCloud, read_pointcloud
from meshes.pointcloud_values import far_points
from pose.files.reading import InputWarning

draw = np.random.default_rng(0)
POINTS = draw.uniform(-1, 1, (7, 3)).astype(np.float32)
BYTES = draw.integers(0, 256, (7, 3))
BYTES[0] = [0, 128, 255]
COLORS = (BYTES / 255).astype(np.float32)


@pytest.fixture
def _silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def check(cloud: PointCloud, atol: float = 1e-6) -> None:
    assert cloud.points.dtype == cloud.colors.dtype == torch.float32
    np.testing.assert_allclose(cloud.points.numpy(), POINTS, atol=atol)
    np.testing.assert_allclose(cloud.colors.numpy(), COLORS, atol=atol)


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize("kind", ["f2", "<f4", ">f4", "<f8", ">f8", "g"])
def test_floats_of_any_width_and_byte_order(kind):
    atol = 1e-3 if kind == "f2" else 1e-6
    check(PointCloud(POINTS.astype(kind), COLORS.astype(kind)), atol)
    check(PointCloud.from_array(np.hstack([POINTS, COLORS]).astype(kind)), atol)


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensors_of_any_float_type(dtype):
    atol = {torch.float16: 1e-3, torch.bfloat16: 1e-2}.get(dtype, 1e-6)
    table = torch.from_numpy(np.hstack([POINTS, COLORS])).to(dtype)
    check(PointCloud.from_array(table), atol)
    check(PointCloud.from_array(table.clone().requires_grad_()), atol)


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2", "i1", "i2", "u4", ">i4", "u8", "i8"])
def test_integer_colours_are_divided_by_the_largest_value_of_their_type(kind):
    largest = np.iinfo(kind).max
    # A power of two below the largest, which float64 holds exactly.
    colors = np.array([[0, largest, largest // 2 + 1]], kind)
    cloud = PointCloud(POINTS[:1], colors)
    np.testing.assert_allclose(cloud.colors[0].numpy(), [0, 1, 0.5], atol=5e-3)
    assert torch.equal(cloud.colors[0, :2], torch.tensor([0.0, 1.0]))
    if kind not in (">u2", ">i4"):
        tensor = torch.from_numpy(colors)
        assert torch.equal(PointCloud(torch.from_numpy(POINTS[:1]), tensor).colors, cloud.colors)


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize("kind", ["i4", "u4", "i8", "u8"])
def test_wide_integers_hold_eight_bits_or_fractions(kind):
    check(PointCloud(POINTS, BYTES.astype(kind)))
    cloud = PointCloud(POINTS[:1], np.array([[0, 1, 1]], kind))
    assert cloud.colors.tolist() == [[0, 1, 1]]
    table = np.hstack([np.arange(21).reshape(7, 3), BYTES]).astype(kind)
    cloud = PointCloud.from_array(table)
    np.testing.assert_array_equal(cloud.points.numpy(), table[:, :3])
    np.testing.assert_allclose(cloud.colors.numpy(), COLORS, atol=1e-6)


@pytest.mark.parametrize("kind", ["u2", "i2"])
def test_eight_bits_in_sixteen_are_warned_of(kind):
    with pytest.warns(InputWarning, match=r"none is above 255: almost black") as caught:
        PointCloud(POINTS, BYTES.astype(kind))
    assert caught[0].filename == __file__


@pytest.mark.usefixtures("_silent")
def test_black_is_a_colour():
    for kind in ("u1", "u2", "i2", "i8", "f4"):
        assert not PointCloud(POINTS, np.zeros((7, 3), kind)).colors.any()


@pytest.mark.parametrize(
    ("colors", "message"),
    [
        (BYTES.astype(float), r"colors must be in \[0, 1\]; got 0..255: divide 8-bit .* by 255"),
        (BYTES * 257.0, "divide 16-bit colours by 65535"),
        (COLORS * 1.02, r"got 0..1.02: divide"),
        (COLORS - 0.01, r"colors must be in \[0, 1\]; got -0.01..0.99"),
        (-BYTES.astype("i8"), r"colors of type int64 must be in 0\.\..*; got -255..0"),
        (BYTES.astype("u1").view("i1"), "of type int8 .* store 8-bit colours as uint8"),
        (BYTES.astype("i4") * 257, r"in 0\.\.255 or use the range of the type; got 0..65535"),
        (torch.full((7, 3), 2.0, dtype=torch.bfloat16), r"colors must be in \[0, 1\]"),
    ],
)
def test_colours_of_other_ranges_are_refused(colors, message):
    with pytest.raises(ValueError, match=message):
        PointCloud(POINTS, colors)


@pytest.mark.usefixtures("_silent")
def test_roundings_beside_the_range_are_cut_off():
    cloud = PointCloud(POINTS[:1], np.array([[1.01, -1e-7, 256 / 255]]))
    assert cloud.colors.tolist() == [[1, 0, 1]]


@pytest.mark.usefixtures("_silent")
def test_strides_and_locked_arrays():
    table = np.hstack([POINTS, COLORS])
    locked = table.copy()
    locked.flags.writeable = False
    wide = np.zeros((14, 12), np.float32)
    wide[::2, ::2] = table
    for each in (locked, wide[::2, ::2], np.asfortranarray(table), np.ma.array(table)):
        check(PointCloud.from_array(each))
    backwards = PointCloud.from_array(table[::-1])
    np.testing.assert_array_equal(backwards.points.numpy(), POINTS[::-1])
    backwards = PointCloud(POINTS[::-1], COLORS[::-1], visible=np.arange(7)[::-1] > 2)
    assert backwards.visible.tolist() == [True] * 4 + [False] * 3
    check(PointCloud(POINTS.tolist(), COLORS.tolist(), part=list(range(7))))


ROW = np.zeros(4, [("x", "f4"), ("y", "f4")])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (ROW, "structured one with the fields x, y: stack its columns"),
        (np.zeros((4, 3), complex), "must be real numbers; got an array of complex128"),
        (np.zeros((4, 3), bool), "must be real numbers; got an array of bool"),
        (np.full((4, 3), "1.0"), "must be real numbers; got an array of <U3"),
        (np.full((4, 3), None), "must be real numbers; got an array of object"),
        ([[1, 2, 3], [1, 2]], "must be an array of numbers"),
        (np.ma.array(np.zeros((4, 3)), mask=np.eye(4, 3)), "no masked entries"),
        (torch.zeros(4, 3, dtype=torch.complex64), "real numbers; got torch.complex64"),
        (torch.zeros(4, 3, dtype=torch.bool), "real numbers; got torch.bool"),
        (torch.zeros(4, 3).to_sparse(), "must be a dense tensor"),
        (torch.zeros(4, 3, device="meta"), "the device meta"),
        (torch.zeros(3), r"must be \(N, 3\); got \(3,\)"),
        (3, r"must be \(N, 3\); got \(\)"),
        (np.full((4, 3), 1e39), "finite in float32"),
        (np.full((4, 3), np.inf), "finite; got NaN or infinite values in 4 rows"),
    ],
)
def test_other_values_than_tables_of_numbers_are_refused(value, message):
    with pytest.raises(ValueError, match=f"points.*{message}"):
        PointCloud(value, COLORS[:4])


@pytest.mark.parametrize("name", ["visible", "part"])
@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_flags_that_are_no_whole_numbers_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be whole numbers"):
        PointCloud(POINTS, COLORS, **{name: np.full(7, value)})


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize("shift", [1e5, 1e6, 1e7])
def test_national_grids_are_centred_before_they_are_rounded(shift):
    place = POINTS.astype(np.float64) + np.array([shift, -shift / 3, 7])
    for points in (place, torch.from_numpy(place), place.astype(">f8"), place.tolist()):
        found = PointCloud(points, COLORS).points.double().numpy()
        np.testing.assert_allclose(found, place - place.mean(0), atol=1e-6)
    found = PointCloud.from_array(np.hstack([place, COLORS])).points.double().numpy()
    np.testing.assert_allclose(found, place - place.mean(0), atol=1e-6)


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize("shift", [0, 3, 100, 1000])
def test_clouds_near_the_origin_keep_their_coordinates_to_the_bit(shift):
    place = POINTS.astype(np.float64) + shift
    found = PointCloud(place, COLORS).points.numpy()
    np.testing.assert_array_equal(found, place.astype(np.float32))
    far = np.float32(POINTS + 1e6)
    np.testing.assert_array_equal(PointCloud(far, COLORS).points.numpy(), far)


def test_coordinates_that_float32_has_coarsened_are_noticed():
    points = torch.from_numpy(POINTS)
    for shift in (0, 10, 1e3, 1e4):
        assert far_points(points + shift) == ""
    assert far_points(1700 * points + 1e4) == ""  # millimetres
    assert far_points(torch.zeros(0, 3)) == ""
    for shift in (1e5, 1e6, -1e7):
        assert "subtract the centroid in float64" in far_points(points + shift)


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize("points", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("colors", ["<f4", ">f8", "u1", "<u2", ">u2"])
@pytest.mark.parametrize("fortran", [False, True])
def test_archives_of_any_types(tmp_path, points, colors, fortran):
    kind = np.dtype(colors)
    largest = np.iinfo(kind).max if kind.kind == "u" else 1
    order = np.asfortranarray if fortran else np.ascontiguousarray
    data = npz(
        points=order(POINTS.astype(points)), colors=order((BYTES / 255 * largest).astype(kind)),
        visible=np.ones(7, bool), part=np.arange(7, dtype=">i2"), note=np.array("any"),
    )  # fmt: skip
    (tmp_path / "a.npz").write_bytes(data)
    cloud = read_pointcloud(tmp_path / "a.npz")
    check(cloud, 1e-4)
    assert cloud.part.tolist() == list(range(7))
    turned = read_pointcloud(tmp_path / "a.npz", frame="reference")
    np.testing.assert_allclose(turned.points.numpy(), POINTS * [1, -1, -1], atol=1e-6)


def _header(shape: str, kind: str = "<f8") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"


def _zip(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return stream.getvalue()


SOUND = _header("(7, 3)") + bytes(7 * 3 * 8)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npz(features=np.zeros(3), names=np.array(["a"])), "it holds features, names"),
        (_zip(points=_header("(80000000, 3)"), colors=SOUND), "at most 15000000 numbers"),
        (_zip(points=_header("(4000000, 3)"), colors=SOUND), "cut short"),
        (_zip(points=_header("(4, 3)") + bytes(9), colors=SOUND), "cut short"),
        (_zip(points=SOUND + b"1", colors=SOUND), "has more bytes"),
        (_zip(points=_header("(-1, 3)"), colors=SOUND), "arrays of numbers; the header of points"),
        (
            _zip(points=_header("(True, 3)"), colors=SOUND),
            "arrays of numbers; the header of points",
        ),
        (_zip(points=_header(f"({'1' * 5000}, 3)"), colors=SOUND), "the header of points"),
        (_zip(points=_header(f"({'9' * 99}, 3)"), colors=SOUND), "at most 15000000 numbers"),
        (_zip(points=_header("(7 7, 3)"), colors=SOUND), r"a\.npz"),
        (_zip(points=_header("(7, 3)", "|O"), colors=SOUND), "allow_pickle"),
        (_zip(points=_header("(7, 3)", "<c16"), colors=SOUND), "points is of type complex128"),
        (_zip(points=_header("(7, 3)", "<U90"), colors=SOUND), "points is of type <U90"),
        (_zip(points=b"", colors=SOUND), r"a\.npz"),
        (_zip(points=b"\x93NUMPY\x09\x00", colors=SOUND), "npy headers of at most|npz archive"),
        (_zip(points=SOUND[:50], colors=SOUND), r"a\.npz"),
        (_zip(points=SOUND, colors=SOUND)[:-30], r"a\.npz"),
        (_zip(points=SOUND, colors=_header("(6, 3)") + bytes(144)), "one row for each"),
        (_zip(points=_header("(21,)") + bytes(168), colors=SOUND), r"points must be \(N, 3\)"),
    ],
)
def test_damaged_archives_are_named(tmp_path, data, message):
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        read_pointcloud(tmp_path / "a.npz")
    assert str(caught.value).startswith(str(tmp_path / "a.npz"))


def test_an_archive_of_zeros_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("points.npy", "w") as member:
            member.write(_header("(10000000, 3)"))
            for _ in range(240):
                member.write(bytes(10**6))
        archive.writestr("colors.npy", SOUND)
    tracemalloc.start()
    with pytest.raises(ValueError, match="at most 15000000 numbers"):
        read_pointcloud(tmp_path / "a.npz")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_flipped_bit_in_an_archive_is_noticed(tmp_path):
    stream = io.BytesIO()
    np.savez(stream, points=POINTS, colors=COLORS)
    data = bytearray(stream.getvalue())
    data[data.index(POINTS.tobytes()) + 13] ^= 1
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npz: .*CRC"):
        read_pointcloud(tmp_path / "a.npz")
