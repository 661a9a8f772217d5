import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import og_reid
from meshes import PointCloud, lift_image, write_pointcloud
from og_reid.config.load import from_dict, load_config
from og_reid.inference.given_images import default_estimator
from og_reid.inference.preprocessing import Preprocessing
from og_reid.inference.pretrained import save_network
from og_reid.models import OGNet
from pose import COCO_17_FEET, Keypoints, NoPersonError, Pose


@pytest.fixture(scope="module")
def cloud(body) -> PointCloud:
    """The embedded body in a shirt and trousers, its back unseen, with some background."""
    generator = torch.Generator().manual_seed(0)
    colors = torch.where(body.v_template[:, 1:2] > 0, 0.7, 0.2) + 0.05 * torch.randn(
        body.num_vertices, 3, generator=generator
    )
    visible = body.v_template[:, 2] > 0
    colors = torch.where(visible[:, None], (colors.clamp(0, 1) * 255).round() / 255, 0.5)
    return PointCloud(
        torch.cat([body.v_template, torch.randn(100, 3, generator=generator)]),
        torch.cat([colors, torch.rand(100, 3, generator=generator)]),
        visible=torch.cat([visible, torch.ones(100, dtype=torch.bool)]),
        part=torch.cat([body.part, torch.full((100,), -1)]),
    )


def test_one_and_many_give_the_same_unit_vectors(cloud, rng):
    other = PointCloud(
        cloud.points, torch.rand(cloud.colors.shape, generator=rng), visible=cloud.visible,
        part=cloud.part,
    )  # fmt: skip
    one = og_reid.embed(cloud)
    many = og_reid.embed([cloud, other, cloud], batch_size=2)
    assert one.shape == (512,)
    assert many.shape == (3, 512)
    torch.testing.assert_close(one.norm(), torch.tensor(1.0))
    torch.testing.assert_close(many[0], one, atol=1e-5, rtol=0)
    torch.testing.assert_close(many[2], one, atol=1e-5, rtol=0)
    assert float(many[0] @ many[1]) < 0.9
    assert torch.equal(og_reid.embed(cloud), one)


def test_every_type_gives_the_same_vector(cloud, tmp_path):
    """The background is left out first: most types cannot say what is background."""
    body_cloud = cloud.body()
    expected = og_reid.embed(body_cloud)
    torch.testing.assert_close(og_reid.embed(cloud), expected, atol=1e-5, rtol=0)
    table = body_cloud.to_array()
    values = {"array": table, "tensor": torch.from_numpy(table), "float64": table.astype(float)}
    for ending in ("npz", "ply", "obj"):
        values[ending] = tmp_path / f"cloud.{ending}"
        write_pointcloud(values[ending], body_cloud)
    for name, value in values.items():
        similarity = float(og_reid.embed(value) @ expected)
        assert similarity > 0.9999, name
    heavy = []
    try:
        import open3d

        heavy.append(body_cloud.to_open3d())
        tensor = open3d.t.geometry.PointCloud()
        tensor.point.positions = open3d.core.Tensor(table[:, :3].copy())
        tensor.point.colors = open3d.core.Tensor(table[:, 3:].copy())
        heavy.append(tensor)
    except ImportError:
        pass
    heavy.append(body_cloud.to_pyg())
    trimesh = pytest.importorskip("trimesh")
    heavy.append(trimesh.PointCloud(table[:, :3], colors=np.round(table[:, 3:] * 255).astype("u1")))
    for value in heavy:
        assert float(og_reid.embed(value) @ expected) > 0.9999, type(value)


def test_order_of_the_points_and_place_do_not_matter(cloud, rng):
    order = torch.randperm(len(cloud), generator=rng)
    expected = og_reid.embed(cloud)
    assert float(og_reid.embed(cloud.select(order)) @ expected) > 0.999
    moved = PointCloud(
        cloud.points + torch.tensor([3.0, -1.0, 2.0]), cloud.colors, visible=cloud.visible,
        part=cloud.part,
    )  # fmt: skip
    assert float(og_reid.embed(moved) @ expected) > 0.99


def test_colours_of_hidden_points_and_of_the_background_do_not_matter(cloud, rng):
    noise = torch.rand(cloud.colors.shape, generator=rng)
    colors = torch.where(cloud.seen_mask[:, None], cloud.colors, noise)
    changed = PointCloud(cloud.points, colors, visible=cloud.visible, part=cloud.part)
    torch.testing.assert_close(og_reid.embed(changed), og_reid.embed(cloud), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(0, 6), "at least 32 points"),
        (torch.rand(10, 6), r"pointcloud must have at least 32 points.*got 10"),
        ([torch.rand(50, 6), torch.rand(5, 6)], r"pointcloud\[1\] must have at least 32"),
        (torch.rand(50, 5), r"must be \(N, 6\)"),
        (torch.full((50, 6), torch.nan), "finite"),
        (torch.rand(50, 6) * 255, "divide 8-bit colours by 255"),
        ("nothing.ply", "nothing.ply"),
    ],
)
def test_bad_clouds_are_refused(value, message):
    for model in ("default", "cloud"):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            og_reid.embed(value, model)


@pytest.mark.parametrize(
    ("value", "message", "image"),
    [
        ([], "pointcloud must hold at least one cloud", "image must be at least one"),
        (None, "pointcloud must be a PointCloud", "image must be a path"),
    ],
)
def test_inputs_of_no_kind_are_refused(value, message, image):
    with pytest.raises(ValueError, match=message):
        og_reid.embed(value, "cloud")
    with pytest.raises(ValueError, match=image):
        og_reid.embed(value)


def test_bad_batch_size_is_refused(cloud):
    with pytest.raises(ValueError, match="batch_size"):
        og_reid.embed(cloud, batch_size=0)


def test_default_model_says_how_it_was_made():
    stored = og_reid.load_model("cloud")
    assert stored is og_reid.load_model("cloud")
    assert stored.training["model"]["arch"] == "ognet-small"
    # What the README says of them is the configuration in the package.
    assert from_dict(stored.training) == load_config("synthetic/continuous")
    parameters = sum(each.numel() for each in stored.model.parameters())
    assert parameters == 1_200_834 - 1  # the published count has one unused scalar


def test_the_folder_of_a_run_is_its_finished_model(tmp_path, cloud, rng):
    network = OGNet((4, 8), k=3, num_points=16, embedding_dim=8, generator=rng)
    save_network(tmp_path / "model.safetensors", network, Preprocessing(32))
    save_network(
        tmp_path / "best.safetensors", og_reid.load_model("cloud").model, Preprocessing(32)
    )
    for folder in (tmp_path, str(tmp_path)):
        weights = og_reid.load_model(folder).model.state_dict()
        assert all(torch.equal(weights[name], each) for name, each in network.state_dict().items())
    of_the_file = og_reid.embed(cloud, model=tmp_path / "model.safetensors")
    assert torch.equal(og_reid.embed(cloud, model=tmp_path), of_the_file)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(
        ValueError, match=r"holds no model\.safetensors: give a run that is finished"
    ):
        og_reid.load_model(tmp_path)


class _Attack:
    def __reduce__(self):
        return eval, ("__import__('pathlib').Path('owned').touch()",)


def test_models_that_are_none_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"'default', .*, a \.safetensors file or the folder"):
        og_reid.load_model("resnet50")
    with pytest.raises(ValueError, match="not a file"):
        og_reid.load_model(tmp_path / "none.safetensors")
    torch.save({"a": _Attack()}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match="pickle"):
        og_reid.load_model(tmp_path / "bad.pt")
    assert not (tmp_path / "owned").exists()
    (tmp_path / "cut.safetensors").write_bytes(b"\x10" * 50)
    with pytest.raises(ValueError, match="damaged"):
        og_reid.load_model(tmp_path / "cut.safetensors")
    save_file({"w": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="no og_reid model"):
        og_reid.load_model(tmp_path / "other.safetensors")


def test_a_model_of_another_architecture_names_the_difference(tmp_path):
    from importlib.resources import files

    from safetensors import safe_open

    path = str(files("og_reid") / "weights/cloud.safetensors")
    weights = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    weights["embs.0.weight"] = torch.zeros(512, 10)
    del weights["conv.0.bias"]
    save_file(weights, tmp_path / "odd.safetensors", metadata)
    with pytest.raises(ValueError, match=r"conv\.0\.bias.*embs\.0\.weight") as caught:
        og_reid.load_model(tmp_path / "odd.safetensors")
    assert "512, 768" in str(caught.value)


def _standing() -> Keypoints:
    rows = torch.tensor([0.1] * 5 + [0.2, 0.2, 0.35, 0.35, 0.48, 0.48, 0.5, 0.5, 0.7, 0.7,
                                     0.9, 0.9, 0.92, 0.92, 0.93, 0.93])  # fmt: skip
    sides = torch.tensor(
        [0, 1, -1, 2, -2, 6, -6, 8, -8, 9, -9, 4, -4, 4, -4, 4, -4, 4, -4, 5, -5.0]
    )
    xy = torch.stack([64 + 5.12 * sides, 256 * rows], 1)
    return Keypoints(xy, torch.full((21,), 0.9), names=COCO_17_FEET)


def test_lift_with_keypoints_of_ones_own(tmp_path, body):
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 255, (256, 128, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "photo.png")
    expected = lift_image(image, Pose(_standing())).cloud
    for value in (
        image,
        Image.fromarray(image),
        tmp_path / "photo.png",
        str(tmp_path / "photo.png"),
    ):
        lifted = og_reid.lift(value, _standing(), mask="pose")
        assert torch.equal(lifted.points, expected.points)
        assert torch.equal(lifted.colors, expected.colors)
    given = og_reid.lift(image, Pose(_standing()), body, mask="pose")
    assert torch.equal(given.points, expected.points)
    assert len(expected.seen()) > 1000


def test_lift_without_a_person_says_so(monkeypatch):
    with pytest.raises(NoPersonError, match="no person was found"):
        og_reid.lift(np.zeros((64, 32, 3), np.uint8), Keypoints.none(COCO_17_FEET))


@pytest.mark.parametrize(
    "image", ["missing.jpg", np.zeros((1, 1, 3), np.uint8), np.zeros((0, 5, 3), np.uint8), 3]
)
def test_lift_refuses_what_is_no_photograph(image):
    with pytest.raises((ValueError, FileNotFoundError)):
        og_reid.lift(image, _standing())


def test_lift_of_a_real_photograph_with_the_default_estimator():
    pytest.importorskip("mediapipe")
    skimage = pytest.importorskip("skimage.data")
    cloud = og_reid.lift(skimage.astronaut())
    seen = cloud.seen()
    assert 800 < len(seen) < 3500
    assert seen.points[:, 1].min() > -0.35  # the legs are outside the picture
    suit = seen.select(seen.part == 9).colors.mean(0)  # chest: an orange space suit
    assert suit[0] > suit[1] > suit[2]
    assert torch.equal(og_reid.lift(skimage.astronaut()).colors, cloud.colors)


def test_missing_mediapipe_names_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mediapipe", None)
    default_estimator.cache_clear()
    with pytest.raises(ImportError, match=r"og-reid\[demo\]"):
        og_reid.lift(np.zeros((64, 32, 3), np.uint8))
    default_estimator.cache_clear()
