"""Fusion of the similarities of a model of local features and of another model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import og_reid
from encoder_kinds import made_cloud, made_image
from og_reid import Embedding
from og_reid.evaluation import ImageLabels, Labels
from og_reid.inference import Encoder, FusedEncoder, Fusion, load_model
from og_reid.inference.encoder import GivenInput
from og_reid.inference.fusion import FusionConfig, FusionInputs, fit_score_weight
from og_reid.pipelines import DataSpec, EvaluateSpec, FuseSpec, evaluate, fuse
from og_reid.retrieval.reranked import DistanceRows

PIDS = [11, 12, 13]


def joined(known: dict[str, Encoder], second: str = "cloud", weight: float = 0.3) -> FusedEncoder:
    return FusedEncoder(known["dense"], known[second], Fusion(weight, 1.0))


def embedded(model: FusedEncoder) -> Embedding:
    clouds = [made_cloud(pid) for pid in PIDS] if model.inputs == "both" else None
    found = og_reid.embed([made_image(pid) for pid in PIDS], model, clouds=clouds)
    assert isinstance(found, Embedding)
    return found


def labels(pids: list[int], gallery: list[int]) -> Labels:
    return Labels(ImageLabels(torch.tensor(pids)), ImageLabels(torch.tensor(gallery)))


@pytest.mark.parametrize("second", ["cloud", "pgfa", "fused"])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_similarities_are_joined_by_the_weight(
    second: str, weight: float, known: dict[str, Encoder]
) -> None:
    model = joined(known, second, weight)
    found = embedded(model)
    assert found.local is not None
    one = model.first.compare(Embedding(local=found.local), Embedding(local=found.local))
    rest = Embedding(found.features, found.parts, found.visibility)
    other = model.second.compare(rest, rest)
    expected = (1 - weight) * one + weight * other
    torch.testing.assert_close(model.compare(found, found), expected)
    torch.testing.assert_close(model.compare(rest, rest), other)
    alone = Embedding(local=found.local)
    torch.testing.assert_close(model.compare(alone, alone), one)
    search = model.search(found[:2], found)
    assert isinstance(search, DistanceRows)
    torch.testing.assert_close(search.dense(), 1 - expected[:2], atol=1e-6, rtol=1e-5)


def test_kinds_of_inputs_and_features(known: dict[str, Encoder]) -> None:
    assert (joined(known).inputs, joined(known, "pgfa").inputs) == ("both", "image")
    assert (joined(known).has_parts, joined(known, "pgfa").has_parts) == (False, True)
    assert joined(known).has_local
    assert joined(known).has_global
    fused = known["fused"]
    assert isinstance(fused, FusedEncoder)
    assert not fused.has_local
    assert joined(known, "guided").needs_keypoints


def test_searches_are_the_fusion_and_each_model(known: dict[str, Encoder]) -> None:
    model = joined(known)
    images, clouds = [made_image(pid) for pid in PIDS], [made_cloud(pid) for pid in PIDS]
    items, _ = model.accept(GivenInput(images, clouds=clouds))
    found = model.searches("m", items, items)
    assert list(found) == ["m", "m first", "m second"]
    similarities = [model.compare(*pair) for pair in found.values()]
    torch.testing.assert_close(similarities[0], similarities[1].lerp(similarities[2], 0.3))
    assert found["m first"][0].features is None
    assert found["m second"][0].local is None


def test_sides_must_both_have_local_features(known: dict[str, Encoder]) -> None:
    model = joined(known)
    found = embedded(model)
    with pytest.raises(ValueError, match="both have local features, or neither"):
        model.compare(found, Embedding(found.features))


@pytest.mark.parametrize("second", ["cloud", "pgfa"])
def test_files(second: str, known: dict[str, Encoder], tmp_path: Path) -> None:
    fusion = Fusion(0.2, 1.0, 0.7, frozenset([5]))
    model = FusedEncoder(known["dense"], known[second], fusion, "own")
    model.save(tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert isinstance(again, FusedEncoder)
    assert (again.fusion, again.dataset) == (fusion, "own")
    one, other = embedded(model), embedded(again)
    assert torch.equal(model.compare(one, one), again.compare(other, other))


def test_a_fused_model_within_a_fused_one_is_no_single_file(
    known: dict[str, Encoder], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"second must be a CloudEncoder.*got FusedEncoder"):
        joined(known, "fused").save(tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("first", ["pgfa", "cloud", "dense"])
def test_the_model_of_local_features_comes_first(first: str, known: dict[str, Encoder]) -> None:
    with pytest.raises(ValueError, match="second must be a model without local features"):
        FusedEncoder(known[first], known["dense"], Fusion(0.5, 1.0))
    with pytest.raises(ValueError, match="second must be a model without local features"):
        FusedEncoder(known[first], joined(known), Fusion(0.5, 1.0))


def test_inputs_of_a_fusion_are_checked(known: dict[str, Encoder]) -> None:
    found = embedded(joined(known))
    local, rest = Embedding(local=found.local), Embedding(found.features)
    pids = torch.tensor(PIDS)
    FusionInputs(local, rest, pids)
    with pytest.raises(ValueError, match="no local features: give that model first"):
        FusionInputs(rest, local, pids)
    with pytest.raises(ValueError, match="of the same images"):
        FusionInputs(local, rest[:2], pids)


def test_identities_of_inner_choices_are_refused(known: dict[str, Encoder]) -> None:
    """Those on which the weights of the second model, itself fused, were chosen: 7 of "own"."""
    model = joined(known, "fused")
    model.check_identities(torch.tensor([7]), "other")
    with pytest.raises(ValueError, match="chosen on 1 of the identities"):
        model.check_identities(torch.tensor([6, 7]), "own")


def test_the_weight_joins_what_each_distinguishes() -> None:
    """One similarity depends on the tens of a number and the other on the units."""
    pids = torch.arange(16)
    tens, units = ((pids // 4)[:, None] == pids // 4), ((pids % 4)[:, None] == pids % 4)
    of = labels(pids.tolist(), pids.tolist())
    fusion = fit_score_weight(tens.float(), units.float(), of)
    assert 0 < fusion.second < 1
    assert fusion.mAP == 1
    assert fusion.people == frozenset(range(16))
    assert fit_score_weight(torch.eye(16), units.float(), of).second == 0
    assert (
        fit_score_weight(torch.zeros(16, 16), torch.eye(16), of, weights=(0.0, 0.4)).second == 0.4
    )


def test_the_weight_follows_the_spread_of_similarities() -> None:
    """A similarity of a tenth of the spread gets ten times the weight."""
    generator = torch.Generator().manual_seed(0)
    pids = torch.arange(60)
    first, second = torch.eye(60) + 0.4 * torch.randn(2, 60, 60, generator=generator)
    of = labels(pids.tolist(), pids.tolist())
    narrow = fit_score_weight(0.1 * first, second, of).second
    assert 0 < narrow < 0.3
    assert fit_score_weight(first, second, of).second > narrow


def test_junk_is_no_identity_of_the_choice() -> None:
    similarity = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    fusion = fit_score_weight(similarity, similarity, labels([1, 2], [1, 2, -1]))
    assert fusion.people == {1, 2}


def test_wrong_similarities_are_refused() -> None:
    of = labels([1, 2], [1, 2])
    with pytest.raises(ValueError, match="weights must hold"):
        fit_score_weight(torch.eye(2), torch.eye(2), of, weights=())
    with pytest.raises(ValueError, match=r"same images; got \(2, 2\) and \(2, 3\)"):
        fit_score_weight(torch.eye(2), torch.zeros(2, 3), of)
    with pytest.raises(ValueError, match="NaN"):
        fit_score_weight(torch.full((2, 2), torch.nan), torch.eye(2), of)


def saved(known: dict[str, Encoder], names: tuple[str, ...], folder: Path) -> list[Path]:
    paths = [folder / f"{name}.safetensors" for name in names]
    for name, path in zip(names, paths, strict=True):
        known[name].save(path)
    return paths


@pytest.mark.parametrize("second", ["cloud", "pgfa", "fused"])
def test_weights_are_chosen_on_a_data_set(
    second: str, known: dict[str, Encoder], data: Path, tmp_path: Path, lifted_clouds: None
) -> None:
    paths = saved(known, ("dense", second), tmp_path)
    out = tmp_path / "both"
    fusion = fuse(FuseSpec(FusionConfig(val_identities=2), *paths, out, DataSpec(data)))
    assert len(fusion.people) == 2
    assert fusion.mAP is not None
    model = load_model(out)
    assert isinstance(model, FusedEncoder)
    assert model.has_local
    assert model.fusion == fusion
    spec = EvaluateSpec(DataSpec(data), out, rerank="original")
    methods = {row.method for row in evaluate(spec)}
    assert {"both", "both first", "both second", "both re-ranked"} <= methods


def test_a_given_weight_needs_no_data(known: dict[str, Encoder], tmp_path: Path) -> None:
    paths = saved(known, ("dense", "cloud"), tmp_path)
    assert fuse(FuseSpec(FusionConfig(cloud_weight=0.25), *paths, tmp_path / "a")).second == 0.25
    with pytest.raises(ValueError, match=r"part_weight must be null for .*dense"):
        fuse(FuseSpec(FusionConfig(cloud_weight=0.2, part_weight=1), *paths, tmp_path / "b"))


@pytest.mark.parametrize("first", ["pgfa", "cells"])
def test_local_features_are_no_second_model(
    first: str, known: dict[str, Encoder], data: Path, tmp_path: Path
) -> None:
    paths = saved(known, (first, "dense"), tmp_path)
    with pytest.raises(ValueError, match=r"dense\.safetensors is a model of images, and cannot"):
        fuse(FuseSpec(FusionConfig(val_identities=2), *paths, tmp_path / "a", DataSpec(data)))


def test_models_without_a_record_of_their_identities_are_refused(
    known: dict[str, Encoder], data: Path, tmp_path: Path
) -> None:
    paths = saved(known, ("cells", "pgfa"), tmp_path)
    with pytest.raises(ValueError, match=r"cells\.safetensors has no record"):
        fuse(FuseSpec(FusionConfig(val_identities=2), *paths, tmp_path / "a", DataSpec(data)))
