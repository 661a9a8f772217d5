"""Public function: the contributions that a similarity is a sum of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pose.runtime.defaults import plain_torch

from ..data.clouds.cloud_set import CloudSet
from ..evaluation.color_histogram import (
    histogram_contributions,
    histogram_distance,
    part_histograms,
)
from ..inference.cloud_encoder import CloudEncoder
from ..inference.encoder import Encoder, GivenInput
from ..inference.explanation import explain_clouds, explain_embeddings
from ..inference.given_images import holds_clouds
from ..inference.own_surface import OwnSurface
from ..inference.pretrained import DEFAULT_MODEL, encoder_for
from ..models.embedding import Embedding
from ..retrieval.explanation import Explanation
from .comparison import compared_sides, same_person

__all__ = ["HISTOGRAM", "explain"]

#: Name of the colour histograms of body parts, in place of a model.
HISTOGRAM = "histogram"


@plain_torch()
def explain(a: Any, b: Any, model: str | Path | Encoder = DEFAULT_MODEL) -> Explanation:
    """Explain the similarity of two images, or of two point clouds, by its contributions.

    ===================  ==========================================================================
    local features       exact: for every cell its best cell in the other image, the cosine, the
                         costs, its weight and its summand of the similarity, in both directions;
                         the same summed by body part
    parts (PGFA)         exact: weight and similarity of every commonly visible part, and of the
                         global feature
    ``"histogram"``      exact: the same of 13 body parts, for point clouds, without a network
    point networks       approximate: gradient times input of every point, summed by body part;
                         `Explanation.remainder` is what it leaves unexplained
    ===================  ==========================================================================

    Args:
        a: One image or one point cloud, or an `Embedding` of `describe` of 1 row; a point network
            lifts images.
        b: The other, likewise.
        model: As for `og_reid.describe`, or ``"histogram"``.

    Returns:
        Contributions that sum to the similarity to 1e-5.

    Raises:
        ValueError: A side is not one input, the model joins several, an `Embedding` is given for
            point clouds; or see `og_reid.describe`.
    """
    clouds = any(not isinstance(each, Embedding) and holds_clouds(each) for each in (a, b))
    if isinstance(model, str) and model == HISTOGRAM:
        return _explain_histograms(a, b)
    encoder = encoder_for(model, clouds=clouds)
    if isinstance(encoder, CloudEncoder):
        sides = [_cloud(name, each, encoder) for name, each in (("a", a), ("b", b))]
        return explain_clouds(encoder, *sides)
    _, one, other = compared_sides(a, b, encoder)
    found = explain_embeddings(encoder, one, other)
    if getattr(encoder.preprocessing, "calibration", None) is None:
        return found
    return replace(found, verification=same_person(one, other, encoder))


def _cloud(name: str, given: Any, encoder: CloudEncoder) -> Any:
    """One cloud in the model's point order."""
    if isinstance(given, Embedding):
        raise ValueError(
            f"{name} must be a point cloud or an image for this model, whose points are explained; "
            "got an embedding"
        )
    lifted = GivenInput(given, lift=not holds_clouds(given), own_surface=OwnSurface())
    items, _ = encoder.accept(lifted)
    if len(items) != 1:
        raise ValueError(f"{name} must be one point cloud; got {len(items)}")
    return items


def _explain_histograms(a: Any, b: Any) -> Explanation:
    encoder = encoder_for(DEFAULT_MODEL, clouds=True)
    assert isinstance(encoder, CloudEncoder)
    one, other = (_cloud(name, each, encoder) for name, each in (("a", a), ("b", b)))
    assert isinstance(one, CloudSet)
    assert isinstance(other, CloudSet)
    first, second = part_histograms(one), part_histograms(other)
    similarity = 1 - float(histogram_distance(first, second))
    return Explanation(similarity, histogram_contributions(first, second))
