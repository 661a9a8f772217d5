"""Baseline without learning: colour histograms of body parts.

A soft histogram of CIE Lab colours for each of 13 body parts. The distance of two clouds is the
mean Hellinger distance of their commonly visible parts, weighted by visibility (similar to
Farenzena et al., CVPR 2010, and Cheng et al., BMVC 2011, on a lifted body).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from meshes.body.parts import LIMB_PARTS, merged_parts

from ..data.clouds.cloud_set import CloudSet
from ..retrieval.contributions import weighted_parts
from ..retrieval.explanation import PartContribution

__all__ = [
    "PARTS",
    "PartHistograms",
    "histogram_contributions",
    "histogram_distance",
    "part_histograms",
    "rgb_to_lab",
]

#: Names of the body parts, in the order of `PartHistograms`.
PARTS: tuple[str, ...] = LIMB_PARTS
# Number of 6 cm voxels of each part that are visible in one image of an adult in full view (rounded
# means over headings, for the embedded body).
_VISIBLE = (30, 50, 28, 24, 17, 17, 22, 22, 37, 37, 26, 26, 25)
_VOXEL = 0.06  # metres
_BINS = (6, 7, 7)  # lightness, green to red, blue to yellow
_MIDDLE_GREY = 0.43  # mean colour of an average image, as sRGB in [0, 1]


@dataclass(frozen=True, eq=False)
class PartHistograms:
    """Colour histograms of the body parts of n clouds.

    Attributes:
        histogram: (n, 13, bins) float32, each part sums to 1, or is 0 if not visible.
        visibility: (n, 13) float32 in [0, 1], visible fraction of the part's camera-facing side.
    """

    histogram: Tensor
    visibility: Tensor

    def __post_init__(self) -> None:
        """Checks the shapes."""
        if self.histogram.dim() != 3 or self.visibility.shape != self.histogram.shape[:2]:
            raise ValueError(
                "histogram must be (n, parts, bins) and visibility (n, parts); "
                f"got {tuple(self.histogram.shape)} and {tuple(self.visibility.shape)}"
            )


def part_histograms(
    clouds: CloudSet,
    *,
    brightness: float = 0.5,
    chunk: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> PartHistograms:
    """Colour histograms of the body parts of every cloud.

    Args:
        clouds: n clouds; background and hidden points are ignored.
        brightness: Normalisation of the mean brightness (its logarithm): 0 = none, 1 = equal for
            all clouds. The default halves differences, which are partly light, partly clothes.
        chunk: Clouds at a time; only changes speed and memory.
        progress: Called with (clouds done, n).
    """
    if len(clouds) == 0:
        raise ValueError("clouds must hold at least one cloud; got none")
    blocks = []
    for start in range(0, len(clouds), chunk):
        stop = min(start + chunk, len(clouds))
        blocks.append(_describe(clouds.select(torch.arange(start, stop)), brightness))
        if progress is not None:
            progress(stop, len(clouds))
    return PartHistograms(
        torch.cat([block.histogram for block in blocks]),
        torch.cat([block.visibility for block in blocks]),
    )


def histogram_distance(
    query: PartHistograms, gallery: PartHistograms, *, chunk: int = 256
) -> Tensor:
    """Distances (Q, G) in (0, 1]; 1 without a commonly visible part.

    The mean of the parts' Hellinger distances ``sqrt(1 - sum(sqrt(p q)))``, each weighted by the
    square root of the product of both visibilities. A constant term at
    distance 1 and weight 1 in the mean limits the similarity of clouds with little in common.

    Args:
        query: Histograms of Q clouds.
        gallery: Histograms of G clouds.
        chunk: Queries at a time; only changes memory.
    """
    if query.histogram.shape[1:] != gallery.histogram.shape[1:]:
        raise ValueError(
            "query and gallery must have the same parts and bins; got "
            f"{tuple(query.histogram.shape[1:])} and {tuple(gallery.histogram.shape[1:])}"
        )
    roots = gallery.histogram.sqrt().permute(1, 2, 0)  # (13, bins, G)
    seen = gallery.visibility.sqrt()
    blocks = []
    for start in range(0, len(query.histogram), chunk):
        rows = slice(start, start + chunk)
        affinity = query.histogram[rows].sqrt().transpose(0, 1) @ roots  # (13, b, G)
        weight = query.visibility[rows].sqrt().T[:, :, None] * seen.T[:, None, :]
        distance = ((1 - affinity).clamp(min=0).sqrt() * weight).sum(dim=0)
        blocks.append((distance + 1) / (weight.sum(dim=0) + 1))
    return torch.cat(blocks)


def histogram_contributions(a: PartHistograms, b: PartHistograms) -> tuple[PartContribution, ...]:
    """Contributions of the body parts to the similarity of two clouds.

    The similarity is 1 - `histogram_distance`. Its constant term has the similarity 0, so that the
    contributions of the parts sum to the similarity, and their weights to less than 1.

    Args:
        a: Histograms of one cloud.
        b: Histograms of the other.

    Raises:
        ValueError: A side is not one cloud.
    """
    for name, side in (("a", a), ("b", b)):
        if len(side.histogram) != 1:
            raise ValueError(
                f"{name} must be the histograms of one cloud; got {len(side.histogram)}"
            )
    affinity = (a.histogram[0].double() * b.histogram[0].double()).sqrt().sum(1)
    weight = (a.visibility[0].double() * b.visibility[0].double()).sqrt()
    similarity = 1 - (1 - affinity).clamp(min=0).sqrt()
    return weighted_parts(PARTS, weight / (weight.sum() + 1), similarity)


def rgb_to_lab(colors: Tensor) -> Tensor:
    """CIE Lab (D65) of sRGB colours in [0, 1]; last dimension 3, lightness in [0, 100]."""
    linear = torch.where(
        colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055).clamp(min=0) ** 2.4
    )
    to_xyz = colors.new_tensor(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = linear @ to_xyz.T / to_xyz.sum(dim=1)  # relative to white
    root = torch.where(
        xyz > (6 / 29) ** 3, xyz.clamp(min=1e-6) ** (1 / 3), xyz * (29 / 6) ** 2 / 3 + 4 / 29
    )
    x, y, z = root.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1)


def _describe(clouds: CloudSet, brightness: float) -> PartHistograms:
    size = len(clouds)
    owner = torch.arange(size).repeat_interleave(clouds.counts)
    colors = clouds.colors.float() / 255
    on_body = (clouds.part >= 0) & clouds.visible
    seen = on_body.float()
    number = colors.new_zeros(size).index_add_(0, owner, seen).clamp(min=1)
    mean = colors.new_zeros(size).index_add_(0, owner, colors.mean(dim=1) * seen) / number
    gain = (_MIDDLE_GREY / mean.clamp(min=0.02)) ** brightness
    colors = (colors * gain[owner, None]).clamp(max=1)

    owner, colors = owner[on_body], colors[on_body]
    part = merged_parts(LIMB_PARTS)[clouds.part[on_body].long()].long()
    row = owner * len(PARTS) + part
    histogram = _soft_histogram(rgb_to_lab(colors), row, size * len(PARTS))
    visibility = _visibility(clouds.points[on_body].float(), row, size)
    return PartHistograms(histogram.reshape(size, len(PARTS), -1), visibility)


def _soft_histogram(lab: Tensor, row: Tensor, rows: int) -> Tensor:
    """(rows, bins) histograms of (M, 3) colours that belong to (M,) rows.

    Each colour is distributed over the eight nearest bins. Along the two colour axes bins are
    narrow near grey, as most clothes are, and wide for saturated colours.
    """
    sizes = torch.tensor(_BINS)
    chroma = torch.asinh(lab[:, 1:] / 15) / torch.asinh(torch.tensor(80 / 15))
    unit = torch.cat([lab[:, :1] / 100, (chroma + 1) / 2], dim=1).clamp(0, 1)
    place = unit * (sizes - 1)
    low = place.floor().clamp(max=sizes - 2)
    above = place - low
    low = low.long()
    histogram = torch.zeros(rows, int(sizes.prod()))
    flat = histogram.view(-1)
    for corner in torch.cartesian_prod(*[torch.arange(2)] * 3):
        weight = torch.where(corner.bool(), above, 1 - above).prod(dim=1)
        light, red, yellow = (low + corner).unbind(1)
        bins = (light * _BINS[1] + red) * _BINS[2] + yellow
        flat.index_add_(0, row * histogram.shape[1] + bins, weight)
    return histogram / histogram.sum(dim=1, keepdim=True).clamp(min=1e-12)


def _visibility(points: Tensor, row: Tensor, size: int) -> Tensor:
    """(size, 13) visible fraction of each part, from the voxels of its points.

    Voxels, not points, are counted, because large clouds are subsampled and small ones are not.
    """
    voxel = (points / _VOXEL).floor().long().clamp(-512, 511) + 512
    key = ((row * 1024 + voxel[:, 0]) * 1024 + voxel[:, 1]) * 1024 + voxel[:, 2]
    occupied = torch.bincount(key.unique() >> 30, minlength=size * len(PARTS))
    full = torch.tensor(_VISIBLE)
    return (occupied.reshape(size, -1) / full).clamp(max=1)
