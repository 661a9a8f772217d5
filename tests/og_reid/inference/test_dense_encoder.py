"""Dense encoders: prompts, mirrored views, late interaction, files in half precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

import og_reid
from encoder_kinds import made_cloud, made_image, made_keypoints
from og_reid import Embedding
from og_reid.inference import (
    DenseEncoder,
    DensePreprocessing,
    EmbedOptions,
    Encoder,
    load_model,
)
from og_reid.inference import dense_encoder as module
from og_reid.inference.encoder import GivenInput
from og_reid.pipelines import DataSpec, EvaluateSpec, evaluate
from og_reid.retrieval.late_interaction import local_similarity
from og_reid.retrieval.reranked import DistanceRows
from pose import COCO_17, Keypoints, Pose


@pytest.fixture
def dense(known: dict[str, Encoder]) -> DenseEncoder:
    model = known["dense"]
    assert isinstance(model, DenseEncoder)
    return model


@pytest.fixture
def cells(known: dict[str, Encoder]) -> DenseEncoder:
    model = known["cells"]
    assert isinstance(model, DenseEncoder)
    return model


def noise(seed: int = 0, shape: tuple[int, int] = (80, 40)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def embedded(model: DenseEncoder, inputs: Any, **rest: Any) -> Embedding:
    options = rest.pop("options", EmbedOptions())
    items, _ = model.accept(GivenInput(inputs, **rest))
    return Embedding.cat(model.embed(items, options))


def weights(model: DenseEncoder, inputs: Any, **rest: Any) -> torch.Tensor:
    found = embedded(model, inputs, **rest).local
    assert found is not None
    return found.weights


def joint(x: float, y: float) -> Keypoints:
    xy = torch.tensor([[x, y]]).repeat(17, 1)
    return Keypoints(xy, torch.eye(17)[0], names=COCO_17)


def test_embeddings_are_global_and_local(dense: DenseEncoder) -> None:
    found = embedded(dense, [noise(0), noise(1), noise(2)])
    assert found.features is not None
    assert found.local is not None
    assert (found.layout, found.local.layout) == ((8, 0, 0), (8, 16, 6))
    whole = og_reid.embed([noise(0), noise(1), noise(2)], dense)
    torch.testing.assert_close(whole, torch.nn.functional.normalize(found.features, dim=1))


def test_comparison_is_late_interaction_with_the_costs_of_the_file(dense: DenseEncoder) -> None:
    query, gallery = embedded(dense, [noise(0), noise(1)]), embedded(dense, [noise(2)])
    assert query.local is not None
    assert gallery.local is not None
    for rules in ({}, {"penalty": 0.0}, {"background": 2.0}, {"symmetric": False}):
        model = replace(dense, preprocessing=replace(dense.preprocessing, **rules))
        expected = local_similarity(query.local, gallery.local, model.preprocessing.interaction)
        torch.testing.assert_close(model.compare(query, gallery), expected[0])
        assert all(map(torch.equal, model.interact(query, gallery), expected))
        search = model.search(query, gallery)
        assert isinstance(search, DistanceRows)
        torch.testing.assert_close(search.dense(), 1 - expected[0])
    alone = query.without_parts(), gallery.without_parts()
    cosine = torch.cosine_similarity(alone[0].features, alone[1].features)  # type: ignore[arg-type]
    torch.testing.assert_close(dense.compare(*alone)[:, 0], cosine)
    assert dense.search(*alone) == alone
    with pytest.raises(ValueError, match="gallery must have local features, as the other side"):
        dense.compare(query, alone[1])


def test_embeddings_of_another_input_size_are_refused(dense: DenseEncoder) -> None:
    settings = replace(dense.preprocessing, height=dense.preprocessing.height + 32)
    other = replace(dense, preprocessing=settings)
    found, larger = embedded(dense, noise()), embedded(other, noise())
    message = "must be embeddings of this model, with 8 cells of an input of 64 x 32 pixels; got 12"
    with pytest.raises(ValueError, match=f"gallery {message}"):
        dense.compare(found, larger)
    with pytest.raises(ValueError, match=f"query {message}"):
        dense.search(larger, found)


def test_searches_are_local_global_and_unmasked(dense: DenseEncoder) -> None:
    items, _ = dense.accept(GivenInput([noise(0), noise(1)]))
    found = dense.searches("m", items, items)
    assert list(found) == ["m", "m global", "m unmasked"]
    assert found["m global"][0].local is None
    local = found["m unmasked"][1].local
    assert local is not None
    torch.testing.assert_close(local.weights.sum(2), torch.ones(2, 8))


def test_keypoints_and_masks_are_prompts(dense: DenseEncoder) -> None:
    image = noise(3)
    plain = weights(dense, image)
    left, right = joint(10.0, 40.0), joint(30.0, 40.0)
    prompted = weights(dense, image, keypoints=left)
    assert not torch.allclose(prompted, plain)
    assert not torch.allclose(weights(dense, image, keypoints=right), prompted)
    both = weights(dense, image, keypoints=Keypoints.stack([left, right]))
    swapped = weights(dense, image, keypoints=Keypoints.stack([right, left]))
    assert not torch.allclose(both, prompted)
    assert not torch.allclose(both, swapped)
    mask = np.zeros((80, 40), np.float32)
    mask[:20] = 1
    masked = weights(dense, image, masks=mask)
    assert not torch.allclose(masked, plain)
    assert not torch.allclose(weights(dense, image, masks=np.stack([mask, 1 - mask])), masked)
    # Keypoints beside a mask, and images without either beside those with one.
    assert not torch.allclose(weights(dense, image, masks=mask, keypoints=left), masked)
    many = weights(dense, [image, image, image], masks=[None, mask, None])
    torch.testing.assert_close(many, torch.cat([plain, masked, plain]), atol=1e-4, rtol=1e-4)
    pose = Pose(left, torch.ones(80, 40))  # its mask is weak evidence
    torch.testing.assert_close(weights(dense, image, keypoints=pose), prompted)


def test_prompts_of_other_images_are_refused(dense: DenseEncoder) -> None:
    for rest, message in (
        ({"masks": [None]}, "masks must be given for each of 2 images; got 1"),
        ({"masks": [None, np.zeros((80, 40))]}, "masks must show some of the person meant"),
        ({"masks": [None, np.ones((3, 3))]}, r"mask must be \(80, 40\)"),
        ({"masks": [None, np.full((80, 40), 255)]}, r"mask must be in \[0, 1\]"),
        ({"keypoints": [None]}, "keypoints must be given for each of 2 images; got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            dense.accept(GivenInput([noise(), noise()], **rest))
    with pytest.raises(ValueError, match="takes images; got a point cloud"):
        og_reid.embed(made_cloud(1), dense)
    for options in (EmbedOptions(descriptor="head"), EmbedOptions(test_view="scale-1.1")):
        with pytest.raises(ValueError, match="are not for dense models"):
            dense.check(options)


def test_mirrored_views_make_an_image_and_its_mirror_alike(dense: DenseEncoder) -> None:
    pixels = noise(5, (64, 32))
    images = [pixels, np.ascontiguousarray(pixels[:, ::-1])]
    plain, found = embedded(dense, images), embedded(dense, images, options=EmbedOptions(True))
    assert plain.features is not None
    assert found.features is not None
    assert not torch.allclose(plain.features[0], plain.features[1], atol=1e-3)
    torch.testing.assert_close(found.features[0], found.features[1], atol=1e-4, rtol=1e-3)
    assert found.local is not None
    for each in (found.local.features, found.local.weights):
        turned = each[1].unflatten(0, (4, 2)).flip(1).flatten(0, 1)
        torch.testing.assert_close(each[0], turned, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found.local.features.norm(dim=2), torch.ones(2, 8))
    always = replace(dense, preprocessing=replace(dense.preprocessing, mirror=True))
    assert torch.equal(embedded(always, images).features, found.features)  # type: ignore[arg-type]


def test_batches_change_nothing_but_speed(dense: DenseEncoder) -> None:
    images = [noise(seed, (30 + seed, 20)) for seed in range(7)]
    whole = embedded(dense, images)
    for size in (1, 3):
        some = embedded(dense, images, options=EmbedOptions(batch_size=size))
        torch.testing.assert_close(some.features, whole.features, atol=1e-4, rtol=1e-3)
    items, single = dense.accept(GivenInput(images))
    seen: list[tuple[int, int]] = []
    pieces = list(
        dense.embed(
            items,
            EmbedOptions(batch_size=3),
            progress=lambda done, total: seen.append((done, total)),
        )
    )
    assert (single, [len(piece) for piece in pieces]) == (False, [3, 3, 1])
    assert seen == [(3, 7), (6, 7), (7, 7)]
    training = dense.model.training
    dense.model.train()
    try:
        torch.testing.assert_close(embedded(dense, images).features, whole.features)
        assert dense.model.training
    finally:
        dense.model.train(training)


def test_files_in_half_precision_are_read_in_single(dense: DenseEncoder, tmp_path: Path) -> None:
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    dense.save(full)
    dense.save(half, half=True)
    assert half.stat().st_size < 0.6 * full.stat().st_size
    assert half.stat().st_size < 4e6
    with safe_open(half, "pt") as file:
        assert file.get_tensor("project.weight").dtype == torch.float16
    model = load_model(half)
    assert isinstance(model, DenseEncoder)
    assert {each.dtype for each in model.model.parameters()} == {torch.float32}
    images = [noise(0), noise(1)]
    one, other = embedded(model, images), embedded(dense, images)
    assert torch.cosine_similarity(one.features, other.features).min() > 0.999  # type: ignore[arg-type]
    assert one.local is not None
    assert other.local is not None
    torch.testing.assert_close(one.local.features, other.local.features, atol=0.02, rtol=0)
    model.save(tmp_path / "again.safetensors", half=True)
    again = load_model(tmp_path / "again.safetensors")
    assert isinstance(again, DenseEncoder)
    assert torch.equal(embedded(again, images).features, one.features)  # type: ignore[arg-type]


def test_damaged_preprocessing_is_refused() -> None:
    for wrong in ({"height": 20}, {"width": 0}, {"penalty": -1.0}, {"background": float("nan")}):
        with pytest.raises(ValueError, match="must be"):
            DensePreprocessing(**wrong)


def test_cells_are_weighted_by_the_mask(
    cells: DenseEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.zeros((80, 40), np.float32)
    mask[40:] = 1
    found = weights(cells, noise(), masks=mask)
    assert found.flatten().tolist() == [0.0, 1.0]
    monkeypatch.setattr(module, "estimate_mask", lambda image: torch.from_numpy(mask))
    assert torch.equal(weights(cells, noise()), found)
    other = Pose(made_keypoints(), torch.from_numpy(1 - mask))
    assert weights(cells, noise(), keypoints=other).flatten().tolist() == [1.0, 0.0]
    given = weights(cells, [noise(), noise()], keypoints=[other, None])
    assert given.flatten().tolist() == [1.0, 0.0, 0.0, 1.0]


def test_cells_of_an_image_without_a_person_show_almost_nothing(cells: DenseEncoder) -> None:
    nothing = embedded(cells, noise(0), masks=np.zeros((80, 40)))
    someone = embedded(cells, noise(1), masks=np.ones((80, 40)))
    similarity, shared = cells.interact(nothing, someone)
    assert similarity.isfinite().all()
    assert float(shared) == pytest.approx(0.02, abs=1e-3)
    assert float(cells.interact(someone, someone)[1]) == pytest.approx(1.0, abs=1e-3)


def test_cells_without_mediapipe_are_refused(
    cells: DenseEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from og_reid.inference.given_images import default_estimator

    monkeypatch.setitem(__import__("sys").modules, "mediapipe", None)
    default_estimator.cache_clear()
    with pytest.raises(ImportError, match="masks must be given: the model needs them"):
        og_reid.embed(made_image(1), cells)
    default_estimator.cache_clear()


def test_rerankings_of_global_features_are_refused_early(dense: DenseEncoder, data: Path) -> None:
    for name in ("gnn", "layumi", "fast-reid"):
        spec = EvaluateSpec(DataSpec(data), dense, rerank=name)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="--rerank must be original or transreid"):
            evaluate(spec)
    rows = evaluate(EvaluateSpec(DataSpec(data), dense, name="m", rerank="transreid"))
    assert {row.metrics.reranking for row in rows if row.method == "m"} == {"none"}
    assert any("k1 = 50" in str(row.metrics.reranking) for row in rows)
