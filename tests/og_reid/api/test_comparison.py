"""The front door: describe, similarity, same_person and rank, with every kind of model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import og_reid
from encoder_kinds import encoders, made_cloud, made_image, made_keypoints
from local_people import views
from og_reid.inference import DenseEncoder
from og_reid.inference.given_images import holds_clouds
from og_reid.inference.pretrained import encoder_for, load_cloud_model, load_model
from og_reid.models import Embedding
from og_reid.rerank import SearchMethods
from og_reid.retrieval import Calibration, Labels, RetrievalResult, VerificationResult
from og_reid.retrieval.labels import check_labels
from og_reid.retrieval.late_interaction import local_similarity

CALIBRATION = Calibration(-5.0, 10.0, min_shared=0.01)


@pytest.fixture(scope="module")
def kinds() -> dict[str, Any]:
    return encoders()


@pytest.fixture(scope="module")
def dense(kinds: dict[str, Any]) -> DenseEncoder:
    found = kinds["dense"]
    assert isinstance(found, DenseEncoder)
    return found


def striped(pid: int, seed: int = 0) -> np.ndarray:
    """A (64, 32) image with stripes of random colours."""
    rng = np.random.default_rng(pid)
    image = np.repeat(rng.integers(0, 256, (8, 1, 3)), 8, axis=0).repeat(32, axis=1)
    noise = np.random.default_rng(100 + seed).integers(-9, 10, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


IMAGES = [striped(pid) for pid in range(4)]
OTHERS = [striped(pid, 1) for pid in range(4)]


@pytest.mark.parametrize("kind", ["dense", "pgfa", "whole", "stripes"])
def test_images_are_described_by_every_kind_of_model(kinds: dict[str, Any], kind: str) -> None:
    encoder = kinds[kind]
    found = og_reid.describe(IMAGES, encoder)
    assert isinstance(found, Embedding)
    assert len(found) == 4
    if found.features is not None:
        assert torch.allclose(found.features.norm(dim=1), torch.ones(4), atol=1e-5)
    assert (found.local is not None) == (kind == "dense")
    scores = og_reid.similarity(found, IMAGES, encoder)
    assert scores.shape == (4, 4)
    assert torch.allclose(scores, encoder.compare(found, found), atol=1e-5)
    assert og_reid.rank(found, found, encoder, k=1).indices.shape == (4, 1)


def test_one_image_is_a_row_and_a_file_is_an_image(dense: DenseEncoder, tmp_path: Path) -> None:
    Image.fromarray(IMAGES[0]).save(tmp_path / "a.png")
    one, file = og_reid.describe(IMAGES[0], dense), og_reid.describe(tmp_path / "a.png", dense)
    assert len(one) == len(file) == 1
    assert one.features is not None
    assert file.features is not None
    assert torch.equal(one.features, file.features)
    many = og_reid.describe(np.stack(IMAGES), dense, batch_size=3)
    assert many.features is not None
    assert torch.allclose(many.features[:1], one.features, atol=1e-4)


def test_point_clouds_have_a_global_embedding() -> None:
    clouds = [made_cloud(1), made_cloud(2)]
    found = og_reid.describe(clouds)
    assert found.local is None
    assert found.features is not None
    assert torch.allclose(found.features, og_reid.embed(clouds), atol=1e-5)
    scores = og_reid.similarity(clouds, found)
    assert torch.allclose(scores.diagonal(), scores.new_tensor([1.0, 1.0]), atol=1e-4)
    ranked = og_reid.rank(clouds, found, k=2)
    assert ranked.indices[:, 0].tolist() == [0, 1]
    assert ranked.shared is None


def test_prompts_change_local_features(dense: DenseEncoder) -> None:
    plain = og_reid.describe(IMAGES[0], dense)
    mask = torch.zeros(64, 32)
    mask[:, 16:] = 1.0
    prompted = og_reid.describe(IMAGES[0], dense, masks=mask)
    assert plain.local is not None
    assert prompted.local is not None
    assert not torch.allclose(plain.local.weights, prompted.local.weights)
    image = np.full((40, 20, 3), 120, np.uint8)
    guided = og_reid.describe([image, image], dense, keypoints=[made_keypoints(), None])
    assert guided.local is not None
    assert not torch.allclose(guided.local.weights[0], guided.local.weights[1])


def test_mirrored_images_are_described_alike(dense: DenseEncoder) -> None:
    image = IMAGES[0].copy()
    image[:, :9] = 7
    flipped = np.ascontiguousarray(image[:, ::-1])

    def score(mirror: bool) -> float:
        one, other = (og_reid.describe(each, dense, mirror=mirror) for each in (image, flipped))
        assert one.features is not None
        assert other.features is not None
        return float((one.features * other.features).sum())

    assert score(True) == pytest.approx(1.0, abs=1e-4)
    assert score(False) < 0.9999


def test_similarity_of_embeddings_is_late_interaction(dense: DenseEncoder) -> None:
    one, other = og_reid.describe(IMAGES, dense), og_reid.describe(OTHERS, dense)
    assert one.local is not None
    assert other.local is not None
    expected = local_similarity(one.local, other.local, dense.preprocessing.interaction)[0]
    assert torch.equal(og_reid.similarity(one, other, dense), expected)
    assert og_reid.similarity(IMAGES, OTHERS, dense).argmax(1).tolist() == [0, 1, 2, 3]


def test_ranking_of_images_is_that_of_the_similarity(dense: DenseEncoder) -> None:
    found = og_reid.rank(IMAGES, OTHERS, dense, k=3, min_shared=0.0)
    assert isinstance(found, RetrievalResult)
    expected = og_reid.similarity(IMAGES, OTHERS, dense).topk(3, dim=1)
    assert torch.equal(found.indices, expected.indices)
    assert torch.allclose(found.scores, expected.values, atol=1e-5)
    assert found.probability is None  # without a calibration
    assert found.methods == ()


def test_paths_name_the_items(dense: DenseEncoder, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, image in zip(paths, OTHERS, strict=False):
        Image.fromarray(image).save(path)
    found = og_reid.rank(paths[1], paths, dense, k=2)
    assert found.query_names == (str(paths[1]),)
    assert found.gallery_names == tuple(map(str, paths))
    assert str(paths[1]) in str(found).splitlines()[1]


def test_labels_leave_junk_out(dense: DenseEncoder) -> None:
    labels: Labels = check_labels(torch.arange(4), torch.tensor([0, -1, 2, 3]))
    found = og_reid.rank(IMAGES, OTHERS, dense, k=4, labels=labels)
    assert not (found.indices == 1).any()
    assert (found.indices[:, 3] == -1).all()


@pytest.mark.parametrize("methods", [
    SearchMethods(mirror=True), SearchMethods(center_gallery=0.5),
    SearchMethods(center_neighbors=1), SearchMethods(rerank=True),
    SearchMethods(True, 1.0, 2, True),
], ids=lambda methods: " + ".join(methods.names))  # fmt: skip
def test_methods_are_named_in_the_result(dense: DenseEncoder, methods: SearchMethods) -> None:
    found = og_reid.rank(IMAGES, [*OTHERS, *IMAGES], dense, k=2, methods=methods, min_shared=0.0)
    assert len(found.methods) == len(methods.names)
    assert f"methods: {', '.join(found.methods)}" in str(found)
    if methods.rerank:
        assert "k1 = 20" in found.methods[-1]
    assert found.shared is not None
    assert (found.shared > 0).all()
    for row in range(4):
        assert set(found.indices[row].tolist()) == {row, row + 4}


def test_methods_that_need_other_input_are_refused(kinds: dict[str, Any]) -> None:
    images = og_reid.describe(IMAGES, kinds["dense"])
    with pytest.raises(ValueError, match="mirror needs images"):
        og_reid.rank(images, images, kinds["dense"], methods=SearchMethods(mirror=True))
    with pytest.raises(ValueError, match="without local features"):
        og_reid.rank(IMAGES, IMAGES, kinds["pgfa"], methods=SearchMethods(rerank=True))
    with pytest.raises(ValueError, match="center_gallery must be"):
        SearchMethods(center_gallery=2.0)
    with pytest.raises(ValueError, match="center_neighbors must be"):
        SearchMethods(center_neighbors=-1)


def test_two_images_have_a_probability(dense: DenseEncoder) -> None:
    found = og_reid.same_person(IMAGES[0], OTHERS[0], dense, calibration=CALIBRATION)
    assert isinstance(found, VerificationResult)
    assert found.decided
    assert found.score == pytest.approx(
        float(og_reid.similarity(IMAGES[0], OTHERS[0], dense)), abs=1e-5
    )
    expected = CALIBRATION.probability(found.score, found.shared)
    assert found.probability == pytest.approx(float(expected))
    rare = og_reid.same_person(IMAGES[0], OTHERS[0], dense, calibration=CALIBRATION, prior=0.01)
    assert rare.probability is not None
    assert found.probability is not None
    assert rare.probability < found.probability


@pytest.mark.parametrize("hidden", [0.9, 1.0])
def test_hidden_people_are_not_decided(dense: DenseEncoder, hidden: float) -> None:
    found = og_reid.same_person(
        views([0], 1), views([0], 1, hidden=hidden), dense, calibration=CALIBRATION, min_shared=0.1
    )
    assert not found.decided
    assert found.probability is None
    assert found.shared < 0.1
    assert "not enough seen" in str(found)


def test_no_evidence_is_below_every_limit(dense: DenseEncoder) -> None:
    found = og_reid.same_person(
        views([0], 1), views([0], 1, hidden=1.0), dense, calibration=CALIBRATION, min_shared=0.0
    )
    assert not found.decided
    assert found.min_shared == CALIBRATION.min_shared


def test_pairs_that_cannot_be_verified_are_refused(kinds: dict[str, Any]) -> None:
    dense = kinds["dense"]
    with pytest.raises(ValueError, match="must have a calibration"):
        og_reid.same_person(IMAGES[0], IMAGES[1], dense)
    with pytest.raises(ValueError, match="a must be one image; got 4"):
        og_reid.same_person(IMAGES, IMAGES[1], dense, calibration=CALIBRATION)
    with pytest.raises(ValueError, match="model must have local features"):
        og_reid.same_person(IMAGES[0], IMAGES[1], kinds["pgfa"], calibration=CALIBRATION)
    with pytest.raises(ValueError, match=r"prior must be in \(0, 1\)"):
        og_reid.same_person(IMAGES[0], IMAGES[1], dense, calibration=CALIBRATION, prior=0.0)
    for least in (2, -0.1, float("nan")):
        with pytest.raises(ValueError, match="min_shared must be"):
            og_reid.same_person(
                IMAGES[0], IMAGES[1], dense, calibration=CALIBRATION, min_shared=least
            )


def test_embeddings_of_two_models_are_not_compared(kinds: dict[str, Any]) -> None:
    dense = og_reid.describe(IMAGES, kinds["dense"])
    for other in (og_reid.describe(IMAGES, kinds["pgfa"]), dense.without_parts()):
        with pytest.raises(ValueError, match="embeddings of one model"):
            og_reid.similarity(dense, other, kinds["dense"])
    for call in (og_reid.similarity, og_reid.rank):
        with pytest.raises(ValueError, match="model must be that of the embeddings"):
            call(dense, dense, "cloud")
    alone = dense.without_parts()
    assert og_reid.similarity(alone, alone, kinds["dense"]).shape == (4, 4)


@pytest.mark.parametrize(("call", "message"), [
    (lambda dense: og_reid.describe([], dense), "at least one"),
    (lambda dense: og_reid.describe(made_image(1), dense, batch_size=0), "batch_size must be"),
    (lambda dense: og_reid.describe(made_image(1), dense, device="abacus"), "device must be"),
    (lambda dense: og_reid.describe([made_cloud(1)], dense), "takes images"),
    (lambda dense: og_reid.describe(made_cloud(1), keypoints=made_keypoints()), "for images"),
    (lambda dense: og_reid.describe(made_cloud(1), masks=torch.ones(4, 4)), "masks are for"),
    (lambda dense: og_reid.describe(made_image(1), dense, masks=torch.ones(4, 4)), "mask"),
    (lambda dense: og_reid.rank(IMAGES, IMAGES, dense, k=0), "k must be at least 1"),
    (lambda dense: og_reid.rank(IMAGES, IMAGES, dense, candidates=0), "candidates must be"),
])  # fmt: skip
def test_wrong_arguments_are_named(dense: DenseEncoder, call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(dense)


def test_missing_files_are_named(dense: DenseEncoder, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        og_reid.describe(tmp_path / "none.png", dense)


def test_progress_counts_images(dense: DenseEncoder) -> None:
    calls: list[tuple[int, int]] = []
    og_reid.describe(IMAGES, dense, batch_size=2, progress=lambda *at: calls.append(at))
    assert calls == [(2, 4), (4, 4)]


def test_results_do_not_depend_on_company(dense: DenseEncoder) -> None:
    whole = og_reid.describe([*IMAGES, *OTHERS], dense)
    assert whole.local is not None
    for number in (0, 5):
        one = og_reid.describe([*IMAGES, *OTHERS][number], dense)
        assert one.local is not None
        for first, second in zip(one.local.tensors, whole.local.tensors, strict=True):
            assert torch.allclose(first[0], second[number], atol=1e-4)


def test_calibration_is_stored_with_the_weights(dense: DenseEncoder, tmp_path: Path) -> None:
    model = replace(dense, preprocessing=replace(dense.preprocessing, calibration=CALIBRATION))
    assert og_reid.same_person(IMAGES[0], OTHERS[0], model).decided
    assert og_reid.rank(IMAGES, OTHERS, model).probability is not None
    for encoder, expected in ((model, CALIBRATION), (dense, None)):
        encoder.save(tmp_path / "model.safetensors")
        again: Any = og_reid.load_model(tmp_path / "model.safetensors")
        assert again.preprocessing == encoder.preprocessing
        assert again.preprocessing.calibration == expected


def test_the_default_model_is_that_of_the_inputs() -> None:
    clouds = load_model("cloud")
    assert encoder_for("default", clouds=True) is clouds
    assert encoder_for("default", clouds=False) is load_model()
    assert encoder_for(clouds, clouds=False) is clouds
    assert load_cloud_model("default") is clouds


@pytest.mark.parametrize(("inputs", "expected"), [
    (made_cloud(1), True), ([made_cloud(1)], True), ("a.ply", True), (Path("a.NPZ"), True),
    (np.zeros((50, 6)), True), (torch.zeros(2, 50, 6), True), ([striped(0), "a.obj"], True),
    (np.zeros((64, 32, 3)), False), (np.zeros((2, 64, 32, 3)), False), ("a.jpg", False),
    (Image.new("RGB", (4, 8)), False), ([], False), (None, False), (b"\x89PNG", False),
    (np.zeros((64, 6, 3)), False),
])  # fmt: skip
def test_point_clouds_are_told_from_images(inputs: Any, expected: bool) -> None:
    assert holds_clouds(inputs) is expected
