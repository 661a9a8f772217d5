"""Types, ranges and places of clouds in memory, and warnings about many of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meshes import PointCloud
from meshes.adapters import as_pointclouds
from pose.files.reading import InputWarning

COUNT = 40
draw = np.random.default_rng(0)
POINTS = draw.uniform(-1, 1, (COUNT, 3)).astype(np.float32).astype(np.float64)
BYTES = draw.integers(0, 256, (COUNT, 3))
BYTES[0] = [0, 128, 255]
LARGEST = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}


@pytest.fixture
def _silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _array(points: np.ndarray, colors: np.ndarray) -> np.ndarray:
    return np.hstack([points, colors])


def _swapped(points: np.ndarray, colors: np.ndarray) -> np.ndarray:
    return np.hstack([points, colors]).astype(">f8")


def _tensor(points: np.ndarray, colors: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.hstack([points, colors]))


def _cloud(points: np.ndarray, colors: np.ndarray) -> PointCloud:
    return PointCloud(torch.from_numpy(points), torch.from_numpy(colors))


def _open3d_legacy(points: np.ndarray, colors: np.ndarray) -> Any:
    open3d = pytest.importorskip("open3d")
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    cloud.colors = open3d.utility.Vector3dVector(colors)
    return cloud


def _open3d_mesh(points: np.ndarray, colors: np.ndarray) -> Any:
    open3d = pytest.importorskip("open3d")
    mesh = open3d.geometry.TriangleMesh()
    mesh.vertices = open3d.utility.Vector3dVector(points)
    mesh.vertex_colors = open3d.utility.Vector3dVector(colors)
    return mesh


def _open3d_tensor(points: np.ndarray, colors: np.ndarray) -> Any:
    open3d = pytest.importorskip("open3d")
    cloud = open3d.t.geometry.PointCloud()
    cloud.point.positions = open3d.core.Tensor(points)
    cloud.point.colors = open3d.core.Tensor(colors)
    return cloud


def _open3d_tensor_mesh(points: np.ndarray, colors: np.ndarray) -> Any:
    open3d = pytest.importorskip("open3d")
    mesh = open3d.t.geometry.TriangleMesh()
    mesh.vertex.positions = open3d.core.Tensor(points)
    mesh.vertex.colors = open3d.core.Tensor(colors)
    return mesh


def _trimesh(points: np.ndarray, colors: np.ndarray) -> Any:
    return pytest.importorskip("trimesh").PointCloud(points, colors=colors)


def _trimesh_mesh(points: np.ndarray, colors: np.ndarray) -> Any:
    trimesh = pytest.importorskip("trimesh")
    return trimesh.Trimesh(points, [[0, 1, 2]], vertex_colors=colors, process=False)


def _pyg(points: np.ndarray, colors: np.ndarray) -> Any:
    data = pytest.importorskip("torch_geometric.data")
    return data.Data(pos=torch.from_numpy(points), x=torch.from_numpy(colors))


ANY_FLOATS = (_array, _swapped, _tensor, _cloud, _open3d_legacy, _open3d_mesh)
ANY_TYPE = (_cloud, _open3d_tensor, _open3d_tensor_mesh, _pyg)
OF_BYTES = (_trimesh, _trimesh_mesh)
Make = Callable[[np.ndarray, np.ndarray], Any]


def _one(value: Any) -> PointCloud:
    (cloud,), single = as_pointclouds(value)
    assert single
    return cloud


def _every(*, bytes_too: bool) -> list[tuple[Make, str]]:
    grid = [(make, "float64") for make in ANY_FLOATS]
    grid += [(make, kind) for make in ANY_TYPE for kind in LARGEST]
    return grid + [(make, "uint8") for make in OF_BYTES if bytes_too]


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize(("make", "kind"), _every(bytes_too=True))
def test_colours_of_any_type_give_the_same_cloud(make: Make, kind: str) -> None:
    colors = BYTES / 255 * LARGEST[kind]
    cloud = _one(make(POINTS, (colors.round() if LARGEST[kind] > 1 else colors).astype(kind)))
    np.testing.assert_array_equal(cloud.points.numpy(), POINTS.astype(np.float32))
    np.testing.assert_allclose(cloud.colors.numpy(), BYTES / 255, atol=1e-6)


@pytest.mark.parametrize("make", [*ANY_FLOATS, *ANY_TYPE])
def test_floats_up_to_255_are_refused_with_the_hint(make: Make) -> None:
    with pytest.raises(ValueError, match=r"colors must be in \[0, 1\]; got 0..255: divide 8-bit"):
        as_pointclouds(make(POINTS, BYTES.astype(np.float64)))


@pytest.mark.parametrize("make", [*ANY_FLOATS, *ANY_TYPE])
def test_negative_colours_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match=r"colors must be in \[0, 1\]; got -1..0"):
        as_pointclouds(make(POINTS, -BYTES / 255))


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize(("make", "kind"), [(make, "float64") for make in (*ANY_FLOATS, *ANY_TYPE)]
                         + [(make, "uint8") for make in OF_BYTES])  # fmt: skip
def test_national_grids_are_centred_before_they_are_rounded(make: Make, kind: str) -> None:
    place = POINTS + np.array([4.5e5, 5.4e6, 300.0])
    colors = (BYTES / 255 if kind == "float64" else BYTES).astype(kind)
    cloud = _one(make(place, colors))
    np.testing.assert_allclose(cloud.points.numpy(), place - place.mean(0), atol=1e-6)


@pytest.mark.usefixtures("_silent")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_floats_are_accepted(dtype: torch.dtype) -> None:
    table = torch.from_numpy(np.hstack([POINTS, BYTES / 255])).to(dtype)
    data = pytest.importorskip("torch_geometric.data").Data(pos=table[:, :3], x=table[:, 3:])
    for value in (table, data, table.requires_grad_()):
        cloud = _one(value)
        assert torch.equal(cloud.points, table[:, :3].detach().float())
        assert torch.equal(cloud.colors, table[:, 3:].detach().float())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(4, [("x", "f4"), ("rgb", "f4")]), "structured one with the fields x, rgb"),
        (np.full((4, 6), "a"), "real numbers"),
        (np.full((4, 6), None), "real numbers; got an array of object"),
        (torch.zeros(4, 6).to_sparse(), "dense tensor"),
        (torch.zeros(4, 6, dtype=torch.complex64), "real numbers"),
        (np.zeros((2, 3, 4, 6)), r"must be \(N, 6\).*got \(2, 3, 4, 6\)"),
        (np.zeros(6), r"must be \(N, 6\).*got \(6,\)"),
        (bytearray(b"ply"), "must be a PointCloud"),
        ({"points": 1}, "must be a PointCloud"),
    ],
)
def test_other_types_than_clouds_are_refused_with_a_reason(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"pointcloud.*{message}"):
        as_pointclouds(value)


def test_incomplete_objects_are_refused_with_a_reason() -> None:
    open3d, trimesh = pytest.importorskip("open3d"), pytest.importorskip("trimesh")
    data = pytest.importorskip("torch_geometric.data")
    tensor = open3d.t.geometry.PointCloud()
    for value in (
        tensor, open3d.geometry.LineSet(), trimesh.Scene(), data.HeteroData(), data.Data(),
        data.Data(pos=torch.zeros(4, 3), x=torch.zeros(4)), data.Batch(pos=torch.zeros(4, 3)),
    ):  # fmt: skip
        with pytest.raises(
            ValueError, match=r"colours|pointcloud must be|needs pos|Batch that fails"
        ):
            as_pointclouds(value)


def test_a_cloud_in_a_stack_is_named_by_its_position() -> None:
    stack = torch.zeros(3, 4, 6)
    stack[1, 2, 4] = 7
    for value in (stack, stack.numpy()):
        with pytest.raises(ValueError, match=r"pointcloud\[1\]: colors must be in \[0, 1\]"):
            as_pointclouds(value)


def test_many_doubtful_files_are_one_warning(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.obj" for number in range(5)]
    for path in paths:
        path.write_text("v 1 2 3 0.1 0.2 0.3\nv 4 5 6 1 1 1\n")
    sound = PointCloud(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.warns(InputWarning) as caught:
        clouds, _ = as_pointclouds([sound, *paths])
    assert len(clouds) == 6
    (message,) = [str(each.message) for each in caught]
    assert message.startswith(f"5 of 6 clouds ({paths[0]}, {paths[1]}, {paths[2]}, ...): the frame")


def test_coordinates_that_float32_has_coarsened_are_warned_of() -> None:
    table = np.hstack([POINTS + 1e6, BYTES / 255]).astype(np.float32)
    other = PointCloud.from_array(table + np.float32([5e6, 0, 0, 0, 0, 0]))
    with pytest.warns(InputWarning, match=r"^2 of 3 .*subtract the centroid in float64") as caught:
        as_pointclouds([table, other, PointCloud(torch.zeros(2, 3), torch.zeros(2, 3))])
    assert len(caught) == 1


def test_many_clouds_of_almost_black_are_one_warning() -> None:
    clouds = [_pyg(POINTS, (BYTES * share).round().astype(np.uint16)) for share in (0.2, 0.5, 1)]
    with pytest.warns(InputWarning, match=r"^3 of 3 clouds .*: colours of type uint16") as caught:
        as_pointclouds(clouds)
    assert len(caught) == 1
