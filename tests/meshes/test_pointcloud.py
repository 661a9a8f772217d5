import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meshes import PointCloud, read_pointcloud, write_pointcloud, write_reference_obj


def _cloud(count: int = 50, seed: int = 0) -> PointCloud:
    generator = torch.Generator().manual_seed(seed)
    visible = torch.rand(count, generator=generator) > 0.3
    colors = torch.randint(256, (count, 3), generator=generator) / 255
    colors[~visible] = 0.5
    return PointCloud(
        torch.randn(count, 3, generator=generator),
        colors,
        visible=visible,
        part=torch.randint(-1, 24, (count,), generator=generator),
    )


def test_defaults_mean_a_visible_body():
    cloud = PointCloud(torch.zeros(3, 3), torch.zeros(3, 3))
    assert cloud.visible.tolist() == [True] * 3
    assert cloud.part.tolist() == [0] * 3
    assert len(cloud.seen()) == 3


def test_visible_body_and_background_split_the_cloud():
    cloud = PointCloud(
        torch.arange(12.0).reshape(4, 3),
        torch.full((4, 3), 0.5),
        visible=torch.tensor([True, False, True, True]),
        part=torch.tensor([3, 4, -1, 5]),
    )
    assert cloud.seen().points[:, 0].tolist() == [0.0, 9.0]
    assert cloud.body().part.tolist() == [3, 4, 5]
    assert cloud.is_background.tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("points", "colors", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(3, 3), r"points must be \(N, 3\)"),
        (torch.zeros(3, 3), torch.zeros(3, 4), r"colors must be \(N, 3\)"),
        (torch.zeros(3, 3), torch.zeros(2, 3), "one row for each"),
        (torch.tensor([[0.0, torch.nan, 0.0]]), torch.zeros(1, 3), "points must be finite"),
        (torch.tensor([[0.0, torch.inf, 0.0]]), torch.zeros(1, 3), "points must be finite"),
        (torch.zeros(1, 3), torch.tensor([[0.0, torch.nan, 0.0]]), "colors must be finite"),
        (torch.zeros(1, 3), torch.tensor([[0.0, 128.0, 255.0]]), "divide 8-bit colours by 255"),
        (torch.zeros(1, 3), torch.tensor([[0.0, -0.5, 0.5]]), r"colors must be in \[0, 1\]"),
    ],
)
def test_bad_values_are_refused(points, colors, message):
    with pytest.raises(ValueError, match=message):
        PointCloud(points, colors)


def test_bad_flags_are_refused():
    with pytest.raises(ValueError, match=r"visible must be \(2,\)"):
        PointCloud(torch.zeros(2, 3), torch.zeros(2, 3), visible=torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="normals must be"):
        PointCloud(torch.zeros(2, 3), torch.zeros(2, 3), normals=torch.zeros(3, 3))


def test_array_round_trip_and_width():
    cloud = PointCloud.from_array(_cloud().to_array())
    assert np.array_equal(cloud.to_array(), _cloud().to_array())
    with pytest.raises(ValueError, match=r"must be \(N, 6\)"):
        PointCloud.from_array(np.zeros((4, 7)))


def test_empty_cloud_is_a_value():
    empty = PointCloud(torch.zeros(0, 3), torch.zeros(0, 3))
    assert len(empty) == len(empty.seen()) == 0
    assert empty.to_array().shape == (0, 6)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 40), seed=st.integers(0, 100), ending=st.sampled_from(["npz", "ply"]))
def test_files_keep_everything(tmp_path_factory, count, seed, ending):
    path = tmp_path_factory.mktemp("clouds") / f"cloud.{ending}"
    cloud = _cloud(count, seed)
    write_pointcloud(path, cloud)
    back = read_pointcloud(path)
    assert torch.equal(back.points, cloud.points)
    torch.testing.assert_close(back.colors, cloud.colors, atol=1e-6, rtol=0)
    assert torch.equal(back.visible, cloud.visible)
    assert torch.equal(back.part, cloud.part)


def test_own_obj_files_keep_the_frame_and_the_authors_are_turned(tmp_path):
    cloud = _cloud(4)
    write_pointcloud(tmp_path / "ours.obj", cloud)
    torch.testing.assert_close(
        read_pointcloud(tmp_path / "ours.obj").points, cloud.points, atol=1e-6, rtol=0
    )
    (tmp_path / "theirs.obj").write_text("v 1 2 3 0.1 0.2 0.3\nv 4 5 6 1 1 1\nf 1 2 2\n")
    theirs = read_pointcloud(tmp_path / "theirs.obj")
    assert theirs.points.tolist() == [[1, -2, -3], [4, -5, -6]]
    torch.testing.assert_close(theirs.colors[0], torch.tensor([0.1, 0.2, 0.3]))


def test_reference_files_are_as_the_authors_write_them(tmp_path):
    cloud = PointCloud(
        torch.tensor([[1.0, 2.0, -3.0], [0.25, -0.5, 1 / 3], [-1.0, 1.0, 1.0]]),
        torch.tensor([[0.0, 0.2, 1.0], [0.5, 0.5, 0.5], [1 / 3, 0.0, 0.0]]),
        visible=torch.tensor([True, False, True]),
    )
    write_reference_obj(tmp_path / "0002_c1s1_000451_03.jpg.obj", cloud)
    assert (tmp_path / "0002_c1s1_000451_03.jpg.obj").read_text().splitlines() == [
        "v 1.000000 -2.000000 3.000000 0.000000 0.200000 1.000000",
        "v 0.250000 0.500000 -0.333333 1.000000 1.000000 1.000000",
        "v -1.000000 -1.000000 -1.000000 0.333333 0.000000 0.000000",
        "f 1 2 3",
    ]
    with pytest.raises(ValueError, match=r"ends in \.obj"):
        write_reference_obj(tmp_path / "a.ply", cloud)
    with pytest.raises(ValueError, match="at least 3 points"):
        write_reference_obj(tmp_path / "a.obj", cloud.seen())
    assert len(list(tmp_path.iterdir())) == 1


def test_ply_files_are_exchanged_with_open3d(tmp_path):
    open3d = pytest.importorskip("open3d")
    cloud = _cloud(30)
    write_pointcloud(tmp_path / "a.ply", cloud)
    theirs = open3d.io.read_point_cloud(str(tmp_path / "a.ply"))
    assert np.allclose(np.asarray(theirs.points), cloud.points)
    assert np.allclose(np.asarray(theirs.colors), cloud.colors, atol=1 / 255)
    open3d.io.write_point_cloud(str(tmp_path / "b.ply"), cloud.to_open3d())
    back = read_pointcloud(tmp_path / "b.ply")
    torch.testing.assert_close(back.points, cloud.points, atol=1e-6, rtol=0)
    torch.testing.assert_close(back.colors, cloud.colors, atol=1 / 255, rtol=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xyz", b"", "ends in .npz, .ply or .obj"),
        ("a.obj", b"", "got none"),
        ("a.obj", b"v 1 2 3\nv 4 5 6\n", "no vertex colours"),
        ("a.obj", b"v 1 2 3 0 0 0\nv 4 5 6 0 0", "cut short"),
        ("a.obj", b"v 1 2 x 0 0 0\n", "could not convert"),
        ("a.obj", b"\xff\xfe\x00", "a.obj"),
        ("a.npz", b"not a zip", "a.npz"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 5\n", "a.ply"),
        ("a.ply", b"", "a.ply"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_pointcloud(tmp_path / name)
    assert name in str(caught.value)


def test_npz_with_a_pickle_or_without_colours_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", points=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="colors"):
        read_pointcloud(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", points=np.array([{}], dtype=object), colors=np.zeros((1, 3)))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_pointcloud(tmp_path / "b.npz")
    with pytest.raises(FileNotFoundError, match=r"c\.ply"):
        read_pointcloud(tmp_path / "c.ply")


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    write_pointcloud(path, _cloud(5))
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        write_pointcloud(path, _cloud(6))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.npz"]


def test_torch_geometric_data_carries_the_fields():
    pytest.importorskip("torch_geometric")
    cloud = _cloud(7)
    data = cloud.to_pyg()
    assert torch.equal(data.pos, cloud.points)
    assert torch.equal(data.x, cloud.colors)
    assert torch.equal(data.part, cloud.part)


@pytest.mark.parametrize("ending", ["npz", "ply", "obj"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_truncated_files_are_named(tmp_path, ending, share):
    path = tmp_path / f"cloud.{ending}"
    write_pointcloud(path, _cloud(200))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    if ending == "obj":  # a text file may end between two lines: drop the tail of one
        path.write_bytes(path.read_bytes().rsplit(b" ", 1)[0] + b"\n")
    with pytest.raises(ValueError, match=f"cloud.{ending}"):
        read_pointcloud(path)


def test_an_array_renamed_to_npz_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 6)))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"a\.npz"):
        read_pointcloud(tmp_path / "a.npz")


def test_a_mesh_without_colours_is_refused(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    trimesh.creation.box().export(tmp_path / "box.ply")
    with pytest.raises(ValueError, match="vertex colours"):
        read_pointcloud(tmp_path / "box.ply")
