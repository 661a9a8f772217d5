"""Every kind of model: saved, loaded, embedded, evaluated and fused by one interface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import og_reid
from encoder_kinds import (
    KINDS,
    made_cloud,
    made_image,
    made_keypoints,
    write_keypoints,
)
from og_reid import Embedding
from og_reid.inference import (
    Encoder,
    FusedEncoder,
    load_model,
)
from og_reid.inference.encoder import GivenInput
from og_reid.inference.fusion import FusionConfig
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

FIELDS = ("features", "parts", "visibility")


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
