import numpy as np
import pytest
import torch

from meshes import PointCloud, read_pointcloud, write_pointcloud
from meshes.adapters import as_pointclouds, near_origin


def _cloud(channels: int | None = 4, count: int = 20) -> PointCloud:
    generator = torch.Generator().manual_seed(0)
    return PointCloud(
        torch.randn(count, 3, generator=generator),
        torch.randint(256, (count, 3), generator=generator) / 255,
        part=torch.randint(-1, 24, (count,), generator=generator),
        features=None if channels is None else torch.randn(count, channels, generator=generator),
    )


def _features(cloud: PointCloud) -> torch.Tensor:
    assert cloud.features is not None
    return cloud.features


def test_features_are_optional():
    assert _cloud(None).features is None
    assert _cloud(None).body().to("cpu").features is None


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int32, np.uint8])
def test_features_of_any_type_become_float32(kind):
    values = np.arange(6).reshape(3, 2).astype(kind)
    cloud = PointCloud(torch.zeros(3, 3), torch.zeros(3, 3), features=values)
    assert _features(cloud).dtype == torch.float32
    assert _features(cloud).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_features_follow_their_points():
    cloud = _cloud()
    index = torch.tensor([3, 3, 0])
    assert torch.equal(_features(cloud.select(index)), _features(cloud)[index])
    assert torch.equal(_features(cloud.body()), _features(cloud)[cloud.part >= 0])
    assert torch.equal(_features(cloud.seen()), _features(cloud)[cloud.seen_mask])
    assert torch.equal(_features(cloud.to("cpu")), _features(cloud))
    assert _features(cloud.select(torch.zeros(0, dtype=torch.int64))).shape == (0, 4)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(3), r"features must be \(3, C\)"),
        (torch.zeros(2, 4), r"features must be \(3, C\).*got \(2, 4\)"),
        (torch.zeros(3, 0), "C above 0"),
        (torch.zeros(3, 1, 1), r"features must be \(3, C\)"),
        (torch.full((3, 2), torch.nan), "features must be finite"),
        (torch.full((3, 2), 1e300, dtype=torch.float64), "features must be finite"),
        (torch.zeros(3, 2, dtype=torch.bool), "features must be real numbers"),
        ("text", "features must be real numbers"),
    ],
)
def test_bad_features_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        PointCloud(torch.zeros(3, 3), torch.zeros(3, 3), features=features)


@pytest.mark.parametrize("ending", ["npz", "ply"])
@pytest.mark.parametrize("channels", [1, 12, 128])
def test_files_keep_features_to_the_bit(tmp_path, ending, channels):
    cloud = _cloud(channels)
    write_pointcloud(tmp_path / f"a.{ending}", cloud)
    back = read_pointcloud(tmp_path / f"a.{ending}")
    assert torch.equal(_features(back), _features(cloud))
    assert torch.equal(back.points, cloud.points)
    assert torch.equal(back.part, cloud.part)


@pytest.mark.parametrize("ending", ["npz", "ply", "obj"])
def test_files_without_features_are_as_before(tmp_path, ending):
    write_pointcloud(tmp_path / f"a.{ending}", _cloud(None))
    assert read_pointcloud(tmp_path / f"a.{ending}").features is None
    assert b"feature" not in (tmp_path / f"a.{ending}").read_bytes()


def test_obj_files_hold_no_features(tmp_path):
    write_pointcloud(tmp_path / "a.obj", _cloud())
    assert read_pointcloud(tmp_path / "a.obj").features is None


def test_numbered_columns_of_a_ply_file_end_at_the_first_gap(tmp_path):
    header = ["ply", "format ascii 1.0", "element vertex 1"]
    header += [f"property float {name}" for name in "xyz"]
    header += [f"property uchar {name}" for name in ("red", "green", "blue")]
    header += [f"property float feature_{number}" for number in (2, 1, 0, 4)]
    text = "\n".join([*header, "end_header", "0 0 0 1 2 3 30 20 10 50"]) + "\n"
    (tmp_path / "a.ply").write_text(text)
    assert _features(read_pointcloud(tmp_path / "a.ply")).tolist() == [[10, 20, 30]]


def test_bad_features_of_a_file_are_refused_with_its_name(tmp_path):
    arrays = {"points": np.zeros((2, 3)), "colors": np.zeros((2, 3))}
    for number, features in enumerate((np.full((2, 1), np.nan), np.zeros((3, 1)), np.zeros(2))):
        path = tmp_path / f"{number}.npz"
        np.savez(path, **arrays, features=features)
        with pytest.raises(ValueError, match=rf"{number}\.npz: features must be"):
            read_pointcloud(path)


def test_conversions_keep_features(tmp_path):
    cloud = _cloud()
    far = PointCloud(cloud.points + 5000, cloud.colors, features=cloud.features)
    assert torch.equal(_features(near_origin(far)), _features(cloud))
    grey = PointCloud(cloud.points, torch.full((20, 3), 0.5), features=cloud.features)
    write_pointcloud(tmp_path / "grey.npz", grey)
    (read,), _ = as_pointclouds(tmp_path / "grey.npz")
    assert not read.visible.any()
    assert torch.equal(_features(read), _features(cloud))


def test_torch_geometric_data_keeps_features():
    pytest.importorskip("torch_geometric")
    cloud = _cloud()
    (back,), _ = as_pointclouds(cloud.to_pyg())
    assert torch.equal(_features(back), _features(cloud))
    assert "features" not in _cloud(None).to_pyg()
