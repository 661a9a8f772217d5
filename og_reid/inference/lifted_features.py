"""Local features of a dense model at the points of lifted clouds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meshes import sample_features
from meshes.lift import Lift
from pose import read_image

from ..models.embedding import Embedding
from .dense_encoder import DenseEncoder
from .encoder import GivenInput

if TYPE_CHECKING:
    from .given_images import GivenKeypoints

__all__ = ["add_local_features"]

_STRIDE = 16  # pixels of a cell of local features


def add_local_features(
    lifts: Sequence[Lift],
    images: Sequence[Any],
    model: DenseEncoder,
    *,
    keypoints: GivenKeypoints = None,
) -> list[Lift]:
    """Lifts whose clouds have the local features of a dense model.

    Such clouds, or their `Lift.canonical`, are for networks with ``feature_channels``; a network is
    trained for the features of one model.

    Args:
        lifts: Lifts of n images.
        images: The same images, of any type that `pose.read_image` takes.
        model: Dense model, `og_reid.load_model`.
        keypoints: Prompts of the model: keypoints or poses of each image, or None.

    Returns:
        The lifts, with ``cloud.features (N, C)``: unit vectors interpolated between cells of 16
        pixels of the network's input, zeros at hidden points.

    Raises:
        ValueError: Numbers of lifts and images differ, or an image is unreadable.
    """
    if len(lifts) != len(images):
        raise ValueError(f"lifts must be one for each of {len(images)} images; got {len(lifts)}")
    if not lifts:
        return []
    arrays = [read_image(image) for image in images]
    items, _ = model.accept(GivenInput(arrays, keypoints))
    local = Embedding.cat(model.embed(items)).local
    assert local is not None
    rows, columns = model.preprocessing.height // _STRIDE, model.preprocessing.width // _STRIDE
    maps = local.features.transpose(1, 2).unflatten(2, (rows, columns))
    return [
        sample_features(lift, each.float(), (array.shape[0], array.shape[1]))
        for lift, each, array in zip(lifts, maps, arrays, strict=True)
    ]
