"""Camera verification: every step against the results of the published code, and for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from og_reid.rerank import (
    Seen,
    complete_labels,
    join_features,
    rerank_by_metadata,
    verify_cameras,
    verify_pairs,
)
from og_reid.rerank.cameras import STEPS

GOLDEN = Path(__file__).parents[2] / "golden" / "rerank" / "aicity_post.npz"
AREA = 15000


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {name: torch.from_numpy(each) for name, each in np.load(GOLDEN).items()}


def sides(golden: dict[str, Tensor]) -> tuple[Seen, Seen]:
    return tuple(
        Seen(
            golden[f"{side}_camera"],
            golden[f"camera_clusters_{side}"],
            golden[f"direction_{side}"],
            golden[track],
        )
        for side, track in (("query", "query_clusters"), ("gallery", "tracks"))
    )  # type: ignore[return-value]


def test_completed_labels(golden: dict[str, Tensor]) -> None:
    for side, track in (("query", "query_clusters"), ("gallery", "tracks")):
        found = complete_labels(golden[f"camera_clusters_{side}_before"], golden[track])
        assert torch.equal(found, golden[f"camera_clusters_{side}"].long())
        assert not torch.equal(found, golden[f"camera_clusters_{side}_before"].long())


def test_labels_of_two_cameras_stay() -> None:
    found = complete_labels([-1, 3, -1, 3, 4, -1, -1], [0, 0, 1, 1, 1, -1, 2])
    assert found.tolist() == [3, 3, -1, 3, 4, -1, -1]
    assert complete_labels([-1, 2], [-1, -1]).tolist() == [-1, 2]
    assert complete_labels(torch.zeros(0).long(), torch.zeros(0).long()).tolist() == []


def test_scores_of_both_steps(golden: dict[str, Tensor]) -> None:
    scores = golden["query_fused"] @ golden["gallery_fused"].T
    first = verify_cameras(scores, *sides(golden), top=0)
    torch.testing.assert_close(first, golden["scores_penalised"], atol=1e-6, rtol=0)
    found = verify_cameras(scores, *sides(golden))
    torch.testing.assert_close(found, golden["scores_top99"], atol=1e-6, rtol=0)
    assert (found - first).abs().max() > 0.1


def test_pairs(golden: dict[str, Tensor]) -> None:
    query, gallery = sides(golden)
    scores = golden["query_fused"] @ golden["query_fused"].T
    added = verify_pairs(scores, query, "queries") - scores
    torch.testing.assert_close(added, golden["added_q_q"], atol=1e-6, rtol=0)
    scores = golden["gallery_fused"] @ golden["gallery_fused"].T
    found = verify_pairs(scores, gallery, "gallery")
    own = golden["tracks"][:, None] == golden["tracks"]
    other = golden["added_g_g_other_tracks"]
    torch.testing.assert_close((found - scores)[~own], other[~own], atol=1e-6, rtol=0)
    inside = golden["tracks"] >= 0
    assert (found[own & inside] == 1).all()
    assert torch.equal(found[own & ~inside], scores[own & ~inside])


def test_all_steps(golden: dict[str, Tensor]) -> None:
    query, gallery = (
        Seen(
            golden[f"{side}_camera"],
            golden[f"camera_clusters_{side}_before"],
            golden[f"direction_{side}"],
            track,
        )
        for side, track in (("query", None), ("gallery", golden["tracks"]))
    )
    found = rerank_by_metadata(
        golden["query"],
        golden["gallery"],
        query,
        gallery,
        counted=golden["gallery_area"] >= AREA,
        query_counted=golden["query_area"] >= AREA,
        k1=20,
        k2=4,
    )
    off = (found - golden["final_k20_4"]).abs()
    assert off.max() < 1e-5


def people(images: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Twelve people in four cameras whose background outweighs the people."""
    rng = torch.Generator().manual_seed(3)
    person = torch.randn(12, 32, generator=rng)
    place = 1.2 * torch.randn(4, 32, generator=rng)
    pid = torch.arange(12).repeat_interleave(4 * images)
    camera = torch.arange(4).repeat_interleave(images).repeat(12)
    noise = 0.8 * torch.randn(len(pid), 32, generator=rng)
    return normalize(person[pid] + place[camera] + noise, dim=1), pid, camera, 4 * pid + camera


def mean_ap(distance: Tensor, same: Tensor, known: Tensor) -> float:
    values = []
    for row, right, keep in zip(distance, same, known, strict=True):
        hits = right[keep][row[keep].argsort(stable=True)].double()
        values.append(float((hits.cumsum(0) / torch.arange(1, len(hits) + 1) * hits).sum()
                            / hits.sum()))  # fmt: skip
    return float(np.mean(values))


def test_people_in_known_cameras_are_found_better() -> None:
    features, pid, camera, track = people()
    ask = torch.arange(len(pid)) % 3 == 0
    query = Seen(camera[ask], track=torch.full((int(ask.sum()),), -1))
    gallery = Seen(camera[~ask], track=track[~ask])
    same = pid[ask][:, None] == pid[~ask]
    other = camera[ask][:, None] != camera[~ask]
    assert not torch.equal(other, torch.ones_like(other))
    plain = 1 - features[ask] @ features[~ask].T
    sides_of = (features[ask], features[~ask], query, gallery)
    found = rerank_by_metadata(*sides_of, steps=("track-means", "cameras"))
    everything = torch.ones_like(other)
    before, after = (mean_ap(each, same & other, everything) for each in (plain, found))
    assert after > before + 0.05


def test_no_steps_and_no_metadata_change_nothing() -> None:
    features, _, camera, _ = people(1)
    unknown = Seen(torch.full_like(camera, -1))
    plain = 1 - features @ features.T
    torch.testing.assert_close(
        rerank_by_metadata(features, features, unknown, unknown, steps=()), plain
    )
    torch.testing.assert_close(verify_cameras(1 - plain, unknown, unknown), 1 - plain)


def test_answers_of_equal_score_come_in_their_order() -> None:
    scores = torch.tensor([[0.5, 0.9, 0.9, 0.1]])
    gallery = Seen([1, 2, 2, 2], track=[0, 1, 2, 3])
    found = verify_cameras(scores, Seen([5]), gallery, top=1)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.9, 0.6, -0.2]]))


def test_directions_in_radians_are_those_of_vectors() -> None:
    yaw = torch.tensor([0.0, 1.0, 3.0, torch.nan])
    vectors = torch.stack([yaw.cos(), yaw.sin()], 1)
    scores = torch.zeros(4, 4)
    one, other = (
        verify_cameras(scores, Seen([-1] * 4, direction=d), Seen([7] * 4, direction=d), top=0)
        for d in (yaw, vectors)
    )
    assert torch.equal(one, other)
    assert one[0].tolist() == pytest.approx([-0.1, -0.1, 0, 0])
    assert not one[3].any()
    assert not one[:, 3].any()


def test_models_are_joined() -> None:
    first, second = torch.rand(4, 3), 100 * torch.rand(4, 5)
    found = join_features([first, second])
    assert found.shape == (4, 8)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(found[:, :3].norm(dim=1), torch.full((4,), 0.5**0.5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Seen([[1, 2]]), r"camera must be \(n,\); got \(1, 2\)"),
        (lambda: Seen([1.5, 2]), r"camera must be \(2,\) whole numbers; got \(2,\) torch.float64"),
        (lambda: Seen([1, 2], track=[1]), r"track must be \(2,\) whole numbers; got \(1,\)"),
        (lambda: Seen([1], camera_cluster=[True]), r"camera_cluster must be \(1,\) whole numbers"),
        (lambda: Seen([1, 2], direction=[0.0]), r"direction must be \(2,\) or \(2, D\); got"),
        (lambda: complete_labels([1, 2], [0]), r"groups must be \(2,\) whole numbers"),
        (lambda: complete_labels(3, [0]), r"labels must be \(0,\) whole numbers"),
        (lambda: verify_cameras(torch.zeros(2, 3), Seen([1]), Seen([1, 2, 3])),
         r"scores must be \(1, 3\), of the images of the metadata; got \(2, 3\)"),
        (lambda: verify_cameras(torch.full((1, 1), torch.nan), Seen([1]), Seen([1])),
         "scores must be finite; got NaN"),
        (lambda: verify_cameras(torch.zeros(1, 1), Seen([1]), Seen([1]), top=-1),
         "top must be at least 0; got -1"),
        (lambda: verify_pairs(torch.zeros(1, 1), Seen([1]), "both"),  # type: ignore[arg-type]
         "kind must be 'queries' or 'gallery'; got 'both'"),
        (lambda: join_features([]), "features must be a sequence with those of each model"),
        (lambda: join_features(torch.zeros(2, 2)), "features must be a sequence"),
        (lambda: join_features([torch.ones(2, 2), torch.ones(3, 2)]), "of the same images; got 2"),
        (lambda: rerank_by_metadata(torch.ones(1, 2), torch.ones(2, 2), Seen([1]), Seen([1])),
         r"scores must be \(1, 1\)"),
        (lambda: rerank_by_metadata(torch.ones(1, 2), torch.ones(1, 2), Seen([1]), Seen([1]),
         steps=("again",)), f"steps must be out of {', '.join(STEPS)}; got 'again'"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_empty_sides() -> None:
    none = Seen(torch.zeros(0).long())
    assert verify_cameras(torch.zeros(0, 2), none, Seen([1, 2])).shape == (0, 2)
    assert verify_cameras(torch.zeros(2, 0), Seen([1, 2]), none).shape == (2, 0)
