"""Explanations of similarities: by the terms of their sum, or by gradients for point networks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from meshes.body.model import SMPL_JOINTS
from meshes.body.parts import BODY_PARTS, merged_parts
from pose.runtime.defaults import plain_torch

from ..data.clouds.batch import CloudBatch
from ..data.clouds.source import CloudDataset, point_order_of
from ..models.embedding import Embedding
from ..retrieval.contributions import cell_matches, cell_parts, part_contributions
from ..retrieval.explanation import Explanation, PartContribution, PointContributions
from .cloud_encoder import CloudEncoder
from .dense_encoder import DenseEncoder
from .encoder import Encoder
from .extract import cloud_output, in_single
from .image_encoder import ImageEncoder

__all__ = ["explain_clouds", "explain_embeddings"]

#: Points that belong to no body part.
_BACKGROUND = "background"


@plain_torch()
def explain_embeddings(encoder: Encoder, a: Embedding, b: Embedding) -> Explanation:
    """Exact contributions to the similarity of two images.

    Args:
        encoder: Model of the embeddings, of local features or of parts.
        a: Embedding of one image.
        b: Embedding of the other.

    Raises:
        ValueError: the model is of another kind, or a side is not one image.
    """
    for name, side in (("a", a), ("b", b)):
        if len(side) != 1:
            raise ValueError(f"{name} must be one image; got {len(side)}")
    if isinstance(encoder, DenseEncoder):
        if a.local is None or b.local is None:
            raise ValueError("a and b must have local features: describe both by this model")
        similarity = float(encoder.compare(a, b))
        grid = encoder.preprocessing.height // 16, encoder.preprocessing.width // 16
        matches = cell_matches(a.local, b.local, encoder.preprocessing.interaction, (grid, grid))
        common = all(each.factor for each in matches)
        return Explanation(
            similarity,
            cell_parts(matches),
            remainder=0.0 if common else similarity,
            cells=matches,
        )
    if not isinstance(encoder, ImageEncoder):
        raise ValueError(
            "model must be of local features, of parts, or of point clouds; got "
            f"{type(encoder).__name__}: explain the models that it joins one by one"
        )
    return Explanation(float(encoder.compare(a, b)), part_contributions(a, b))


@plain_torch()
def explain_clouds(encoder: CloudEncoder, a: CloudDataset, b: CloudDataset) -> Explanation:
    """Approximate contributions of points to the cosine of two clouds: gradient times input.

    Inputs are positions relative to the mean of the cloud, and colours relative to grey, as the
    network takes them. For a network without biases, gradient times input sums to the cosine (if
    the lengths of both outputs are held); biases, and local features of points, are the remainder.
    Each cloud is given half of its sum.

    Args:
        encoder: Model of point clouds.
        a: One cloud in the model's point order, from `CloudEncoder.accept`.
        b: The other.

    Returns:
        The explanation; its parts are those of the body, and ``background``.

    Raises:
        ValueError: a side is not one cloud.
    """
    for name, side in (("a", a), ("b", b)):
        if len(side) != 1:
            raise ValueError(f"{name} must be one cloud; got {len(side)}")
        encoder.check_point_order(point_order_of(side))
    device = next((each.device for each in encoder.model.parameters()), torch.device("cpu"))
    network = in_single(encoder.model)
    training = network.training
    network.eval()
    batches = [side.batch([0], encoder.preprocessing.num_points).to(device) for side in (a, b)]
    inputs = [tuple(each.requires_grad_() for each in batch.network_input()) for batch in batches]
    try:
        with torch.enable_grad():
            outputs = [
                _output(network, batch, *given)
                for batch, given in zip(batches, inputs, strict=True)
            ]
            # With the lengths held, the contributions to the features add up to the cosine.
            units = [each / each.detach().norm() for each in outputs]
            cosine = (units[0] * units[1]).sum()
            gradients = torch.autograd.grad(cosine, [each for side in inputs for each in side])
    finally:
        network.train(training)
    found = []
    for row, batch in enumerate(batches):
        points, colors = (each.detach()[0].cpu() for each in inputs[row])
        of_position, of_color = (
            (gradient[0].cpu().double() * value.double()).sum(1) / 2
            for gradient, value in zip(
                gradients[2 * row : 2 * row + 2], (points, colors), strict=True
            )
        )
        # Colours as network inputs are relative to grey; shown ones are in [0, 1].
        shown = (colors + 0.5).clamp(0, 1)
        part = batch.part[0].cpu()
        found.append(PointContributions(points, shown, part, of_position, of_color))
    similarity = float(cosine.detach())
    parts = _body_parts(found)
    total = sum(each.contribution for each in parts)
    return Explanation(
        similarity, parts, remainder=similarity - total, exact=False, points=tuple(found)
    )


def _output(network: nn.Module, batch: CloudBatch, points: Tensor, colors: Tensor) -> Tensor:
    takes = bool(getattr(network, "feature_channels", 0))
    values = (colors, batch.network_features()) if takes else (colors,)
    return cloud_output(network, points, values)


def _body_parts(clouds: Iterable[PointContributions]) -> tuple[PartContribution, ...]:
    """Contributions of the points of all clouds, summed by body part."""
    names = (*BODY_PARTS, _BACKGROUND)
    table = merged_parts(BODY_PARTS, SMPL_JOINTS)
    total = torch.zeros(len(names), dtype=torch.float64)
    for cloud in clouds:
        total.index_add_(0, _part_rows(cloud.part, table), cloud.contribution)
    return tuple(map(PartContribution, names, total.tolist()))


def _part_rows(part: Tensor, table: Tensor) -> Tensor:
    """(N,) row of `BODY_PARTS` of each joint; the row behind them off the body."""
    rows = table[part.clamp(min=0)].long()
    return torch.where((part < 0) | (rows >= len(BODY_PARTS)), len(BODY_PARTS), rows)
