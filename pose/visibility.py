"""Visibility from keypoints: heat maps of joints, and visibility of horizontal stripes.

Both are from PGFA (Miao et al., "Pose-Guided Feature Alignment for Occluded Person
Re-Identification", ICCV 2019), in two modes. ``reference`` equals the authors' code
to the bit: the person differs between heat maps and labels when two have equally many
joints, a joint at x = 0 or y = 0 is lost, the width of a Gaussian grows with the area of the
image, and a joint on the border of two stripes lies in neither. Where their code stops with an
error (no joint over the threshold), everything counts as visible. ``corrected`` has one person
for both, widths proportional to the image's height, closed stripes, joints only inside the image,
and heat maps without rounding.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from .keypoints import Keypoints
from .layouts import OPENPOSE_18
from .person_selection import Target, select_person
from .runtime.defaults import plain_torch

__all__ = ["Mode", "heatmaps", "part_visibility", "stripe_masks"]

Mode = Literal["corrected", "reference"]
"""Mode of heat maps and visibility, see the module."""

#: Standard deviation of the corrected Gaussians as a part of the height. At 150 x 60 pixels it is
#: the authors' (9 pixels).
SIGMA = 0.06
#: Fewer visible joints are no evidence: then everything counts as visible.
LEAST_JOINTS = 3


@plain_torch()
def heatmaps(
    people: Keypoints | None,
    size: tuple[int, int],
    *,
    mode: Mode = "corrected",
    cells: tuple[int, int] = (24, 8),
    target: Target | None = None,
    threshold: float = 0.2,
) -> Tensor:
    """Heat maps: one Gaussian per joint of the target person, on a coarse grid.

    Args:
        people: one person or (P,) people of one image, or None without an estimate. PGFA's own
            maps are of `OPENPOSE_18`, see `to_openpose18`. Float64 in mode ``reference`` for
            results equal to the authors' to the bit.
        size: height and width of the image in pixels.
        mode: see the module.
        cells: rows and columns of the grid; PGFA's is 24 x 8 for its network.
        target: selection among people, see `select_person`; None: ``most_joints``.
        threshold: lower bound of the joints used; by score in mode ``reference``, by visibility
            otherwise.

    Returns:
        (K, rows, columns) in [0, 1], K = 18 for None. Map j is zero when joint j is not
        used. All ones when there is no evidence: no score over the threshold, and in mode
        ``corrected`` fewer than 3 joints. Mode ``reference``: float64, multiples of 1/255.
        Otherwise the dtype of the keypoints, means of the Gaussian over each cell.

    Raises:
        ValueError: an argument has another shape or range.
        ImportError: mode ``reference`` without Pillow.
    """
    _check(size, mode, cells, target)
    reference = mode == "reference"
    dtype = torch.float64 if reference else torch.float32 if people is None else people.xy.dtype
    person = _person(people, size, target or "most_joints", threshold)
    count = len(OPENPOSE_18 if people is None else people.names)
    if person is None:
        return torch.ones(count, *cells, dtype=dtype)
    if reference:
        taken = (person.score > threshold) & (person.xy != 0).all(-1)
        maps = [
            _reference_map(int(x), int(y), size, cells) if seen else np.zeros(cells)
            for (x, y), seen in zip(person.xy.tolist(), taken.tolist(), strict=True)
        ]
        return torch.from_numpy(np.stack(maps))
    seen = _seen(person, size, threshold)
    if int(seen.sum()) < LEAST_JOINTS:
        return torch.ones(count, *cells, dtype=dtype)
    sigma = SIGMA * size[0]
    columns = _cell_means(person.xy[:, 0], size[1], cells[1], sigma)
    rows = _cell_means(person.xy[:, 1], size[0], cells[0], sigma)
    return rows[:, :, None] * columns[:, None] * seen[:, None, None]


@plain_torch()
def part_visibility(
    people: Keypoints | None,
    size: tuple[int, int],
    *,
    parts: int = 3,
    mode: Mode = "corrected",
    target: Target | None = None,
    threshold: float = 0.2,
) -> Tensor:
    """Visibility of the horizontal stripes of an image.

    Args:
        people: see `heatmaps`.
        size: height and width of the image in pixels.
        parts: number of stripes, all of one height.
        mode: see the module.
        target: selection among people, see `select_person`; None: ``most_joints``, in mode
            ``reference`` ``most_joints_last``.
        threshold: see `heatmaps`.

    Returns:
        (parts,) float32, 1 = stripe with a joint, from top to bottom. All ones when there is no
        evidence: fewer than 3 joints over the threshold.

    Raises:
        ValueError: an argument has another shape or range.
    """
    _check(size, mode, (parts, 1), target)
    reference = mode == "reference"
    person = _person(
        people, size, target or ("most_joints_last" if reference else "most_joints"), threshold
    )
    if person is None:
        return torch.ones(parts)
    seen = person.score > threshold if reference else _seen(person, size, threshold)
    if int(seen.sum()) < LEAST_JOINTS:
        return torch.ones(parts)
    y = person.xy[:, 1]
    low, high = (
        y.new_tensor([(stripe + more) / parts * size[0] for stripe in range(parts)])[:, None]
        for more in (0, 1)
    )
    inside = (low < y) & (y < high) if reference else (low <= y) & (y <= high)
    return (inside & seen).any(-1).float()


def stripe_masks(visibility: Tensor, cells: tuple[int, int] = (24, 8)) -> Tensor:
    """Masks of the visible stripes.

    Args:
        visibility: (..., P) visibility of P stripes, see `part_visibility`.
        cells: height and width of the masks, cells or pixels.

    Returns:
        (..., height, width) the visibility of the stripe in which the middle of each cell lies.
    """
    if visibility.ndim < 1 or not visibility.shape[-1]:
        raise ValueError(f"visibility must be (..., P) with P >= 1; got {tuple(visibility.shape)}")
    _check((1, 1), "corrected", cells)
    middle = torch.arange(cells[0], device=visibility.device, dtype=torch.float64) + 0.5
    stripe = (middle * visibility.shape[-1] / cells[0]).long()
    rows = visibility[..., stripe]
    return rows[..., None].expand(*rows.shape, cells[1]).clone()


def _check(
    size: tuple[int, int], mode: str, cells: tuple[int, int], target: str | None = None
) -> None:
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}; got {mode!r}")
    if target is not None and target not in get_args(Target):
        raise ValueError(f"target must be one of {', '.join(get_args(Target))}; got {target!r}")
    if len(size) != 2 or not all(length > 0 and length == int(length) for length in size):
        raise ValueError(f"size must be the image's height and width in pixels; got {size}")
    if len(cells) != 2 or not all(count > 0 and count == int(count) for count in cells):
        raise ValueError(f"cells and parts must be whole numbers above 0; got {cells}")


def _person(
    people: Keypoints | None, size: tuple[int, int], target: Target, threshold: float
) -> Keypoints | None:
    """Selected person; None without scores over the threshold."""
    if people is None:
        return None
    if not people.shape:
        return people if bool((people.score > threshold).any()) else None
    index = select_person(people, target, size=size, threshold=threshold)
    return None if index is None else people[index]


def _seen(person: Keypoints, size: tuple[int, int], threshold: float) -> Tensor:
    """(K,) bool: joints visible inside the image."""
    edge = person.xy.new_tensor([size[1], size[0]])
    inside = ((person.xy >= 0) & (person.xy <= edge)).all(-1)
    return inside & (person.visibility > threshold) & (person.score > 0)


def _cell_means(center: Tensor, length: int, cells: int, sigma: float) -> Tensor:
    """(K, cells) means over each of `cells` parts of [0, length] of Gaussians with peak 1."""
    borders = torch.linspace(0, length, cells + 1, dtype=torch.float64, device=center.device)
    scaled = (borders - center.double()[:, None]) / (sigma * math.sqrt(2))
    area = torch.erf(scaled).diff(dim=-1) * (sigma * math.sqrt(math.pi / 2))
    return (area / (length / cells)).to(center.dtype)


def _reference_map(x: int, y: int, size: tuple[int, int], cells: tuple[int, int]) -> np.ndarray:
    """(rows, columns) float64 of a Gaussian drawn pixel by pixel and shrunk by Pillow."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Pillow is needed for heat maps in mode 'reference'; install it with: pip install "
            "pillow"
        ) from error
    height, width = size
    sigma = height * width / 1000
    squared = (np.arange(width) - x) ** 2 + (np.arange(height)[:, None] - y) ** 2
    drawn = 255 * np.exp(-squared / (2.0 * sigma * sigma))
    small = Image.fromarray(drawn.astype(np.float32)).convert("L")
    small = small.resize((cells[1], cells[0]), Image.Resampling.BILINEAR)
    return np.asarray(small) / 255
