"""Evidence about pairs of tracklets, against pairs of images one by one."""

from __future__ import annotations

import math

import pytest
import torch

from local_people import views
from og_reid import Embedding
from og_reid.retrieval import Calibration
from og_reid.retrieval.evidence import shared_evidence
from og_reid.retrieval.late_interaction import Interaction, local_similarity
from og_reid.tracking import pair_evidence

CALIBRATION = Calibration(-4.0, 8.0, 0.5, 0.5)


def test_means_of_logits_by_shared_evidence_one_by_one() -> None:
    images = Embedding.cat([views([1, 2, 1], 0), views([2, 1], 1, hidden=0.5)])
    owner = [0, 1, 0, 1, 2]
    found = pair_evidence(images, owner, 4, CALIBRATION)
    local = images.local
    assert local is not None
    score, shared = local_similarity(local, local, Interaction())[0], shared_evidence(local, local)
    for one in range(3):
        for other in range(3):
            total = weight = 0.0
            for a in range(5):
                for b in range(5):
                    if (owner[a], owner[b]) in ((one, other), (other, one)):
                        p = float(CALIBRATION.probability(score[a, b], shared[a, b]))
                        total += float(shared[a, b]) * math.log(p / (1 - p))
                        weight += float(shared[a, b])
            assert float(found.logit[one, other]) == pytest.approx(total / weight, rel=1e-5)
    assert float(found.logit[0, 2]) > float(found.logit[0, 1]) + 1, "one person"
    assert found.weight[3].tolist() == [0] * 4


def test_images_without_common_surface_have_no_weight() -> None:
    images = views([1, 1], 0)
    assert images.local is not None
    for row, cells in enumerate((slice(0, 4), slice(4, 12))):
        images.local.weights[row, cells] = 0
    images.local.visibility[:] = (images.local.weights.sum(1) > 1.5).float()
    found = pair_evidence(images, [0, 1], 2, CALIBRATION)
    assert float(found.weight[0, 1]) == 0
    assert float(found.logit[0, 1]) == 0


def test_global_embeddings_are_compared_by_cosines() -> None:
    images = Embedding(torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0]]))
    found = pair_evidence(images, [0, 1, 2], 3, CALIBRATION)
    wanted = torch.logit(CALIBRATION.probability(0.5**0.5, 1.0))
    torch.testing.assert_close(found.logit[0, 2], wanted, rtol=1e-5, atol=0)
    assert float(found.weight[0, 1]) == 1


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"owner must be \(2,\) in \[0, 1\)"):
        pair_evidence(views([1, 2], 0), [0, 1], 1, CALIBRATION)
    parts = Embedding(None, torch.ones(1, 2, 3), torch.ones(1, 2))
    with pytest.raises(ValueError, match="got parts alone"):
        pair_evidence(parts, [0], 1, CALIBRATION)
