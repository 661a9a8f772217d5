"""Every kind of model: saved, loaded, embedded, evaluated and fused by one interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import og_reid
from meshes.pointcloud import PointCloud
from og_reid import Embedding
from og_reid.data import CloudSet, Sample, load_market
from og_reid.data.clouds import lift_dataset as lifting
from og_reid.evaluation import evaluate_distances
from og_reid.inference import (
    CloudEncoder,
    EmbedOptions,
    Encoder,
    FusedEncoder,
    Fusion,
    ImageEncoder,
    ImagePreprocessing,
    Preprocessing,
    load_model,
)
from og_reid.inference.encoder import GivenInput
from og_reid.inference.fusion import FusionConfig
from og_reid.inference.given_images import ArraySet, as_images, default_estimator
from og_reid.inference.model_file import FileContent, FileKind, write_model
from og_reid.inference.pretrained import _KINDS, register_kind
from og_reid.models import PGFA, OGNet, StripeNet
from og_reid.pipelines import (
    DataSpec,
    EmbedSpec,
    EvaluateSpec,
    FuseSpec,
    describe_run,
    embed_inputs,
    evaluate,
    fuse,
)
from pose import COCO_17, Keypoints
from pose.runtime.torchvision_import import import_torchvision

KINDS = ("cloud", "pgfa", "guided", "whole", "stripes", "fused")
SIZE = ImagePreprocessing(32, 16)
FIELDS = ("features", "parts", "visibility")


def made_cloud(pid: int, camid: int = 0) -> PointCloud:
    rng = torch.Generator().manual_seed(100 * camid + pid)
    return PointCloud(
        points=torch.randn(64, 3, generator=rng) * 0.3,
        colors=torch.rand(3, generator=torch.Generator().manual_seed(pid)).expand(64, 3),
        part=torch.zeros(64, dtype=torch.int64),
    )


def made_image(pid: int, camid: int = 0) -> np.ndarray:
    image = np.full((40, 20, 3), np.random.default_rng(pid).integers(0, 256, 3), np.uint8)
    image[25:] = 60 * camid
    return image


def made_keypoints() -> Keypoints:
    across = torch.linspace(4.0, 16.0, 17)
    return Keypoints(torch.stack([across, 2 * across], 1), torch.ones(17), names=COCO_17)


def encoders() -> dict[str, Encoder]:
    """One of each kind with small networks, always the same weights."""
    import_torchvision("the test", "pip install torchvision")
    sizes: dict[str, Any] = {"dims": (4, 8), "k": 3, "num_points": 8, "ball_counts": (2, 3, 4)}

    def rng() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    people = {"people": [1, 2]}
    cloud = CloudEncoder(
        OGNet(**sizes, embedding_dim=6, generator=rng()).eval(),
        Preprocessing(16, min_points=5),
        {"seed": 3},
        provenance=people,
    )
    image = {
        "pgfa": PGFA(3, 2, global_branch="average", generator=rng()),
        "guided": PGFA(3, 2, generator=rng()),
        "whole": PGFA(3, 0, global_branch="average", generator=rng()),
        "stripes": StripeNet(3, ((1, 2),), generator=rng()),
    }
    images = {
        name: ImageEncoder(network.eval(), SIZE, {"seed": 3}, provenance=people)
        for name, network in image.items()
    }
    fusion = Fusion(0.3, 0.6, 0.5, frozenset([7]))
    chosen = {"seed": 5, "config": {"val_identities": 2}}
    fused = FusedEncoder(images["pgfa"], cloud, fusion, "own", chosen)
    return {"cloud": cloud, **images, "fused": fused}


@pytest.fixture(scope="module")
def known() -> dict[str, Encoder]:
    return encoders()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("encoders") / "data"
    for folder, pids, cameras in (
        ("bounding_box_train", range(1, 9), (1, 2)),
        ("query", range(11, 15), (1,)),
        ("bounding_box_test", range(11, 15), (2,)),
    ):
        (root / folder).mkdir(parents=True)
        for pid in pids:
            for camera in cameras:
                path = root / folder / f"{pid:04}_c{camera}s1_{pid:06}_00.png"
                Image.fromarray(made_image(pid, camera)).save(path)
    return root


@pytest.fixture
def lifted_clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the lift: the cloud of the identity and camera."""

    def lift(samples: Sequence[Sample], **_: object) -> CloudSet:
        return CloudSet.from_clouds(
            (made_cloud(each.pid, each.camid), each.pid, each.camid, each.name) for each in samples
        )

    monkeypatch.setattr(lifting, "lift_dataset", lift)


def given(kind: str, pids: Sequence[int]) -> tuple[list[Any], dict[str, Any]]:
    """Inputs of `og_reid.embed` for a kind."""
    clouds, images = [made_cloud(pid) for pid in pids], [made_image(pid) for pid in pids]
    if kind == "cloud":
        return clouds, {}
    if kind == "fused":
        return images, {"clouds": clouds}
    return images, {"keypoints": [made_keypoints()] * len(pids)} if kind == "guided" else {}


def tensors(found: Tensor | Embedding) -> list[Tensor]:
    if isinstance(found, Tensor):
        return [found]
    return [each for each in (found.features, found.parts, found.visibility) if each is not None]


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_gives_the_same_embeddings(
    kind: str, known: dict[str, Encoder], tmp_path: Path
) -> None:
    model = known[kind]
    assert isinstance(model, Encoder)
    path = tmp_path / "model.safetensors"
    model.save(path)
    inputs, rest = given(kind, [11, 12, 13])
    expected = og_reid.embed(inputs, model, **rest)
    for place in (path, tmp_path, load_model(path)):  # a file, a run, a model
        found = og_reid.embed(inputs, place, **rest)
        assert type(found) is type(expected)
        assert all(map(torch.equal, tensors(found), tensors(expected)))
    for one, other in zip(
        tensors(og_reid.embed(inputs, path, batch_size=2, **rest)), tensors(expected), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    again = load_model(path)
    assert type(again) is type(model)
    assert (again.inputs, again.has_parts, again.preprocessing, again.training) == (
        model.inputs, model.has_parts, model.preprocessing, model.training,
    )  # fmt: skip
    assert again.provenance == model.provenance
    if isinstance(model, FusedEncoder):
        assert isinstance(again, FusedEncoder)
        assert (again.fusion, again.dataset) == (model.fusion, model.dataset)
        assert again.second.provenance == {"people": [1, 2]}


@pytest.mark.parametrize("kind", KINDS)
def test_global_embeddings_are_tensors_and_parts_an_embedding(
    kind: str, known: dict[str, Encoder]
) -> None:
    model = known[kind]
    inputs, rest = given(kind, [11, 12])
    many = og_reid.embed(inputs, model, **rest)
    one = og_reid.embed(inputs[0], model, **{name: each[0] for name, each in rest.items()})
    assert isinstance(many, Embedding) == isinstance(one, Embedding) == model.has_parts
    if isinstance(one, Tensor) and isinstance(many, Tensor):
        torch.testing.assert_close(one, many[0])
        torch.testing.assert_close(many.norm(dim=1), torch.ones(2))
    else:
        assert (len(one), len(many)) == (1, 2)
        for single, rows in zip(tensors(one), tensors(many), strict=True):
            torch.testing.assert_close(single, rows[:1], atol=1e-5, rtol=1e-4)
    found = many if isinstance(many, Embedding) else Embedding(many)
    similarity = model.compare(found, found)
    assert similarity.shape == (2, 2)
    assert (similarity.diagonal() >= similarity.max(1).values - 1e-5).all()


def upper_half() -> Keypoints:
    """Keypoints of an image whose lower half is occluded."""
    whole = made_keypoints()
    return Keypoints(whole.xy, (whole.xy[:, 1] < 20).float(), names=COCO_17)


def test_keypoints_of_an_image_are_those_of_its_visibility(known: dict[str, Encoder]) -> None:
    images, seen = [made_image(11), made_image(12)], [upper_half(), made_keypoints()]
    found = og_reid.embed(images, known["guided"], keypoints=seen)
    assert isinstance(found, Embedding)
    assert found.visibility is not None
    assert found.visibility.tolist() == [[1.0, 0.0], [1.0, 1.0]]
    whole = og_reid.embed(images, known["guided"], keypoints=[made_keypoints()] * 2)
    assert isinstance(whole, Embedding)
    assert not torch.allclose(found.features[0], whole.features[0])  # guided by the joints
    torch.testing.assert_close(found.features[1], whole.features[1])


def same(one: Embedding, other: Embedding) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in FIELDS]
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)


def test_searches_of_images_are_visible_parts_all_parts_and_the_whole(
    known: dict[str, Encoder],
) -> None:
    model = known["guided"]
    items, _ = model.accept(GivenInput([made_image(11)], [upper_half()]))
    (whole,) = model.embed(items)
    assert whole.visibility is not None
    assert whole.visibility.tolist() == [[1.0, 0.0]]
    found = model.searches("m", items, items)
    assert list(found) == ["m", "m unmasked", "m global"]
    all_parts = Embedding(whole.features, whole.parts, torch.ones(1, 2))
    for name, expected in (
        ("m", whole), ("m unmasked", all_parts), ("m global", Embedding(whole.features))
    ):  # fmt: skip
        assert same(found[name][0], expected), name
        assert same(found[name][1], expected), name


def test_searches_of_a_fused_model_are_the_fusion_and_each_model(known: dict[str, Encoder]) -> None:
    model = known["fused"]
    assert isinstance(model, FusedEncoder)
    images, rest = given("fused", [11, 12])
    items, _ = model.accept(GivenInput(images, **rest))
    found = model.searches("m", items, items)
    assert list(found) == ["m", "m first", "m second"]
    assert same(found["m"][0], next(model.embed(items)))
    assert same(found["m first"][0], Embedding.cat(model.first.embed(items.first)))
    assert same(found["m second"][0], Embedding.cat(model.second.embed(items.second)))
    assert all(same(query, gallery) for query, gallery in found.values())


@pytest.mark.parametrize("kind", ["pgfa", "whole", "stripes"])
def test_a_file_of_embeddings_holds_all_that_an_embedding_has(
    kind: str, known: dict[str, Encoder], data: Path, tmp_path: Path
) -> None:
    images = sorted((data / "query").iterdir())
    done = embed_inputs(EmbedSpec(images, tmp_path / "f.npz", known[kind], workers=1))
    found = og_reid.embed(images, known[kind])
    found = found if isinstance(found, Embedding) else Embedding(found)
    expected = {name: each for name in FIELDS if (each := getattr(found, name)) is not None}
    with np.load(tmp_path / "f.npz") as kept:
        assert {*kept} == {"names", *expected}
        assert list(kept["names"]) == [str(path) for path in images]
        for name, values in expected.items():
            torch.testing.assert_close(torch.from_numpy(kept[name]), values)
    assert done.made == len(images)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_evaluated(
    kind: str, known: dict[str, Encoder], data: Path, tmp_path: Path, lifted_clouds: None
) -> None:
    model = known[kind]
    keypoints = tmp_path / "keypoints"
    keypoints.mkdir()
    files = {"estimator": None}
    if kind == "guided":
        with pytest.raises(ValueError, match="--keypoints or --estimator must be given"):
            evaluate(EvaluateSpec(DataSpec(data), model))
        files["keypoints"] = write_keypoints(data, tmp_path / "keypoints.json")
    spec = EvaluateSpec(DataSpec(data, **files), model, name="m", rerank="original")
    stages: set[str] = set()
    rows = evaluate(spec, lambda stage, done, total: stages.add(stage))
    methods = [row.method for row in rows]
    name = "m global" if kind == "whole" else "m"
    assert f"{name} re-ranked" in methods
    assert {row.metrics.num_valid for row in rows} == {4}
    assert {"embedding", "ranking", f"re-ranking {name}"} <= stages
    model.save(tmp_path / "m.safetensors")
    saved = EvaluateSpec(DataSpec(data, **files), tmp_path / "m.safetensors", name="m")
    again = {row.method: row.metrics.mAP for row in evaluate(saved)}
    assert again[name] == rows[methods.index(name)].metrics.mAP


def write_keypoints(data: Path, path: Path) -> Path:
    from pose import CocoKeypoints, write_alphapose

    images = sorted(each.name for each in data.rglob("*.png"))
    write_alphapose(path, CocoKeypoints(Keypoints.stack([made_keypoints()] * len(images)), images))
    return path


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ("pgfa", "cloud", None),
        ("pgfa", "whole", None),  # two models of images
        ("cloud", "pgfa", "cloud.safetensors is a model of clouds, and cannot be used here"),
        ("stripes", "cloud", "stripes.safetensors is a model of images, and cannot be used here"),
        ("pgfa", "fused", "fused.safetensors is a model of images and clouds, and cannot be used"),
    ],
)
def test_models_are_fused(
    first: str,
    second: str,
    refused: str | None,
    known: dict[str, Encoder],
    data: Path,
    tmp_path: Path,
    lifted_clouds: None,
) -> None:
    paths = [tmp_path / f"{name}.safetensors" for name in (first, second)]
    for name, path in zip((first, second), paths, strict=True):
        known[name].save(path)
    config = FusionConfig(val_identities=2)
    spec = FuseSpec(config, *paths, tmp_path / "both", DataSpec(data))
    if refused is not None:
        with pytest.raises(ValueError, match=refused):
            fuse(spec)
        return
    fusion = fuse(spec)
    assert len(fusion.people) == 2
    model = load_model(tmp_path / "both")
    assert isinstance(model, FusedEncoder)
    assert (model.fusion, model.inputs) == (fusion, "both" if second == "cloud" else "image")
    rows = evaluate(EvaluateSpec(DataSpec(data), tmp_path / "both"))
    assert [row.method for row in rows] == ["both", "both first", "both second"]
    inputs, rest = given("fused" if second == "cloud" else "pgfa", [11, 12])
    assert isinstance(og_reid.embed(inputs, model, **rest), Embedding)
    file = tmp_path / "one.safetensors"
    model.save(file)
    assert load_model(file).provenance == model.provenance
    assert describe_run(file) == describe_run(tmp_path / "both").replace("both", "one.safetensors")
    assert "val_identities: 2" in describe_run(file)


@pytest.mark.parametrize(
    ("kind", "inputs", "rest", "message"),
    [
        ("pgfa", made_cloud(1), {}, "takes images; got a point cloud"),
        ("pgfa", "a.ply", {}, "takes images; got a point cloud"),
        ("fused", np.zeros((9, 6)), {}, "takes images; got a point cloud"),
        ("cloud", made_image(1), {}, "pointcloud must be"),
        ("cloud", made_cloud(1), {"keypoints": made_keypoints()}, "keypoints are for models of im"),
        ("pgfa", made_image(1), {"clouds": made_cloud(1)}, "clouds are for models of both"),
        ("pgfa", [made_image(1)], {"keypoints": [None, None]}, "for each of 1 images; got 2"),
        ("fused", [made_image(1)], {"clouds": [made_cloud(1)] * 2}, "got 2 for 1 images"),
    ],
)
def test_input_of_another_kind_is_refused(
    kind: str, inputs: Any, rest: dict[str, Any], message: str, known: dict[str, Encoder]
) -> None:
    with pytest.raises(ValueError, match=message):
        og_reid.embed(inputs, known[kind], **rest)


def test_options_of_another_kind_are_refused(known: dict[str, Encoder]) -> None:
    for kind, options, message in (
        ("cloud", EmbedOptions(descriptor="head"), "is for models of images; leave it out"),
        ("pgfa", EmbedOptions(mirror=True), "are for models of clouds"),
        ("fused", EmbedOptions(test_view="scale-1.1"), "are not for fused models"),
    ):
        with pytest.raises(ValueError, match=message):
            known[kind].check(options)


def test_a_guided_model_without_keypoints_and_mediapipe_is_refused(
    known: dict[str, Encoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mediapipe", None)
    default_estimator.cache_clear()
    with pytest.raises(ImportError, match="keypoints must be given: the model needs them"):
        og_reid.embed(made_image(1), known["guided"])
    default_estimator.cache_clear()
    assert isinstance(og_reid.embed(made_image(1), known["pgfa"]), Embedding)


@dataclass(frozen=True, eq=False)
class MeanColor:
    """A kind of model of one's own: the mean colour of an image, over a learned gain."""

    model: nn.Linear = field(default_factory=lambda: nn.Linear(3, 3))
    preprocessing: str = "as it is"
    training: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    inputs = "image"
    has_parts = needs_keypoints = False
    has_global = True

    def check(self, options: EmbedOptions) -> None:
        assert not options.mirror

    def check_identities(self, pids: Tensor, dataset: str | None) -> None:
        pass

    def accept(self, given: Any) -> tuple[ArraySet, bool]:
        images, single = as_images(given.items)
        return ArraySet(images, [None] * len(images), parts=0), single

    def prepare(self, splits: Sequence[Sequence[Sample]], source: Any) -> tuple[ArraySet, ...]:
        from og_reid.data import ImageSet

        return tuple(ImageSet(samples, lambda _: None, parts=0) for samples in splits)

    def embed(
        self, items: Any, options: Any = None, *, progress: Any = None
    ) -> Iterator[Embedding]:
        colors = [items.read(each).mean((0, 1)) for each in items.samples]
        with torch.no_grad():
            yield Embedding(self.model(torch.tensor(np.stack(colors), dtype=torch.float32)))

    def searches(
        self, name: str, query: Any, gallery: Any, options: Any = None, *, progress: Any = None
    ) -> dict[str, tuple[Embedding, Embedding]]:
        return {name: (next(self.embed(query)), next(self.embed(gallery)))}

    def compare(self, query: Embedding, gallery: Embedding) -> Tensor:
        return -torch.cdist(query.features, gallery.features)

    def search(self, query: Embedding, gallery: Embedding) -> Tensor:
        return -self.compare(query, gallery)

    def to(self, device: Any) -> MeanColor:
        return self

    def save(self, path: str | Path) -> None:
        write_model(path, FileContent("test mean colour", self.model.state_dict(), {}, {}))


@pytest.fixture
def own_kind() -> Iterator[None]:
    before = dict(_KINDS)
    make = MeanColor
    register_kind(
        FileKind("test mean colour", lambda _: nn.Linear(3, 3), lambda _: "as it is", make)
    )
    yield
    _KINDS.clear()
    _KINDS.update(before)


def test_a_custom_kind_is_one_class(
    own_kind: None, data: Path, tmp_path: Path, known: dict[str, Encoder]
) -> None:
    model = MeanColor()
    assert isinstance(model, Encoder)
    model.save(tmp_path / "color.safetensors")
    again = load_model(tmp_path / "color.safetensors")
    assert isinstance(again, MeanColor)
    images = [made_image(11), made_image(12)]
    found = og_reid.embed(images, again)
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(found, og_reid.embed(images, model))
    (row,) = evaluate(EvaluateSpec(DataSpec(data), model, name="color"))
    colors = [
        next(model.embed(model.prepare([samples], None)[0])).features
        for samples in (load_market(data).query, load_market(data).gallery)
    ]
    pids = torch.arange(11, 15)
    expected = evaluate_distances(torch.cdist(*colors), query_pids=pids, gallery_pids=pids)
    assert (row.method, row.metrics.mAP) == ("color", expected.mAP)
    known["pgfa"].save(tmp_path / "pgfa.safetensors")
    fixed = FusionConfig(cloud_weight=1.0, part_weight=0.0)
    files = tmp_path / "pgfa.safetensors", tmp_path / "color.safetensors"
    fuse(FuseSpec(fixed, *files, tmp_path / "both"))
    rows = evaluate(EvaluateSpec(DataSpec(data), tmp_path / "both"))
    assert [row.method for row in rows] == ["both", "both first", "both second"]
    with pytest.raises(ValueError, match="is that of another kind"):
        register_kind(
            FileKind("og_reid.model", lambda _: nn.Linear(1, 1), lambda _: None, MeanColor)
        )
