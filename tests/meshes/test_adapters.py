import numpy as np
import pytest
import torch

from meshes import PointCloud, write_pointcloud
from meshes.adapters import as_pointclouds


@pytest.fixture
def table(rng):
    """(40, 6) whose colours are whole 8-bit values, so that every type can hold them exactly."""
    colors = torch.randint(256, (40, 3), generator=rng) / 255
    return torch.cat([torch.randn(40, 3, generator=rng), colors], 1)


def _single(value) -> torch.Tensor:
    clouds, single = as_pointclouds(value)
    assert single
    return torch.from_numpy(clouds[0].to_array())


def test_arrays_and_tensors_are_converted(table):
    assert torch.equal(_single(table), table)
    assert torch.equal(_single(table.numpy().astype(np.float64)), table)
    assert torch.equal(_single(PointCloud.from_array(table)), table)


def test_batches_and_sequences_are_converted(table):
    stacked, single = as_pointclouds(torch.stack([table, table + 0.0]))
    assert not single
    assert len(stacked) == 2
    mixed, single = as_pointclouds([table, table.numpy(), PointCloud.from_array(table)])
    assert not single
    assert all(np.array_equal(cloud.to_array(), table.numpy()) for cloud in mixed)
    assert as_pointclouds([]) == ([], False)
    assert as_pointclouds([table])[1] is False


@pytest.mark.parametrize("ending", ["npz", "ply", "obj"])
def test_paths_of_clouds_are_read(table, tmp_path, ending):
    path = tmp_path / f"cloud.{ending}"
    write_pointcloud(path, PointCloud.from_array(table))
    torch.testing.assert_close(_single(path), table, atol=1e-6, rtol=0)
    torch.testing.assert_close(_single(str(path)), table, atol=1e-6, rtol=0)


def test_open3d_clouds_are_converted(table):
    open3d = pytest.importorskip("open3d")
    legacy = PointCloud.from_array(table).to_open3d()
    torch.testing.assert_close(_single(legacy), table, atol=1e-6, rtol=0)
    tensor = open3d.t.geometry.PointCloud()
    tensor.point.positions = open3d.core.Tensor(table[:, :3].numpy())
    tensor.point.colors = open3d.core.Tensor((table[:, 3:] * 255).round().byte().numpy())
    torch.testing.assert_close(_single(tensor), table, atol=1e-6, rtol=0)
    legacy.colors = open3d.utility.Vector3dVector()
    with pytest.raises(ValueError, match="no colours"):
        as_pointclouds(legacy)


def test_trimesh_clouds_are_converted(table):
    trimesh = pytest.importorskip("trimesh")
    colors = (table[:, 3:] * 255).round().byte().numpy()
    cloud = trimesh.PointCloud(table[:, :3].numpy(), colors=colors)
    torch.testing.assert_close(_single(cloud), table, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="no colours"):
        as_pointclouds(trimesh.PointCloud(table[:, :3].numpy()))
    with pytest.raises(ValueError, match="no colours"):
        as_pointclouds(trimesh.creation.box())


def test_torch_geometric_data_and_batches_are_converted(table):
    geometric = pytest.importorskip("torch_geometric.data")
    data = geometric.Data(pos=table[:, :3], x=table[:, 3:])
    assert torch.equal(_single(data), table)
    batch, single = as_pointclouds(geometric.Batch.from_data_list([data, data]))
    assert not single
    assert len(batch) == 2
    flagged = PointCloud(
        table[:, :3], table[:, 3:], visible=torch.arange(40) > 3, part=torch.arange(40) % 24
    )
    back = as_pointclouds(flagged.to_pyg())[0][0]
    assert torch.equal(back.visible, flagged.visible)
    assert torch.equal(back.part, flagged.part)
    with pytest.raises(ValueError, match="needs pos"):
        as_pointclouds(geometric.Data(pos=table[:, :3]))


@pytest.mark.parametrize("value", [None, 3, {"points": 1}, b"bytes", object()])
def test_other_types_are_refused(value):
    with pytest.raises(ValueError, match=r"pointcloud.*must be a PointCloud, an \(N, 6\) array"):
        as_pointclouds(value)


def test_the_position_in_a_sequence_is_named(table):
    with pytest.raises(ValueError, match=r"pointcloud\[1\]: colors must be in \[0, 1\]"):
        as_pointclouds([table, table * torch.tensor([1, 1, 1, 255, 255, 255])])
