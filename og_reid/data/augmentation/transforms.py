"""Augmentation of batched clouds: geometry, occlusion, colour.

Every function takes a ``CloudBatch``, or float32 ``points`` (B, P, 3) in metres (x right, y up, z
to the camera) and ``colors`` (B, P, 3) in [0, 1], draws numbers for each cloud by a key of its own
(``draws``, one item per cloud) and returns new tensors. A cloud changes independently of the others
in its batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from meshes.body.model import SMPL_JOINTS

from ...files.renamed_settings import renamed_fields
from ..clouds.batch import CloudBatch
from ..keyed_random import KeyedRandom

__all__ = [
    "Augmentation",
    "augment",
    "augment_colors",
    "augment_points",
    "hide_points",
    "mirror",
    "mirror_x",
    "rotate_y",
]

_SIDES = {"left": "right", "right": "left"}
#: Mirrored part of each part; the background (-1, the last entry) stays.
_MIRRORED = (
    *(
        SMPL_JOINTS.index("_".join([_SIDES.get(side, side), *rest]))
        for side, *rest in (name.split("_") for name in SMPL_JOINTS)
    ),
    -1,
)
MIN_KEPT = 0.25  # least fraction of a cloud's visible points after all occlusion


@renamed_fields("augment.")
@dataclass(frozen=True)
class Augmentation:
    """Strength of each random change; 0 turns it off. Probabilities are per cloud."""

    rotate: float = 15.0  # degrees, largest turn about the vertical axis
    rotate_full: float = 0.0  # probability of a turn by any angle instead
    mirror: float = 0.5  # probability of swapping left and right
    scale: float = 0.1  # largest |ln factor|, drawn for x, y and z apart
    scale_range: tuple[float, float] = (1.0, 1.0)  # factors drawn evenly for x, y and z apart
    jitter: float = 0.01  # metres, standard deviation per coordinate
    jitter_limit: float = 0.0  # metres, larger jitters are cut to it; 0 = no limit
    point_dropout: float = 0.3  # point dropout, maximum fraction
    occlude: float = 0.5  # probability of an occluder
    occlude_max: float = 0.7  # largest fraction of points behind the occluder, at most 0.75
    occluder_color_leak: float = 0.2  # probability that hidden points show the occluder's colour
    part_erase: float = 0.2  # probability of losing whole body parts
    contiguous_dropout: float = 0.0  # contiguous point dropout, maximum fraction
    exposure: float = 0.4  # largest |ln factor| of all channels together
    gamma: float = 0.3  # largest |ln exponent|
    white_balance: float = 0.15  # largest |ln factor| of a channel on its own
    saturation: float = 0.3  # largest change of the factor on colourfulness
    contrast: float = 0.2  # largest change of the factor on the distance to the cloud's mean
    brightness: float = 0.08  # largest offset of all channels together
    shading: float = 0.2  # largest |ln factor| between the ends of a light gradient
    noise: float = 0.03  # standard deviation per channel and point

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "scale_range" and not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{field.name} must be finite and at least 0; got {value}")
        low, high = self.scale_range
        if not 0 < low <= high < math.inf:
            raise ValueError(
                f"scale_range must hold two ascending factors above 0; got {self.scale_range}"
            )
        for name in (
            "rotate_full",
            "mirror",
            "occlude",
            "occluder_color_leak",
            "part_erase",
            "point_dropout",
        ):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} must be in [0, 1]; got {getattr(self, name)}")
        if max(self.occlude_max, self.point_dropout, self.contiguous_dropout) > 1 - MIN_KEPT:
            raise ValueError(
                "occlude_max, point_dropout and contiguous_dropout must be at most "
                f"{1 - MIN_KEPT}, so that something is left; got {self.occlude_max}, "
                f"{self.point_dropout} and {self.contiguous_dropout}"
            )
        if self.saturation > 1 or self.contrast > 1:
            raise ValueError(
                f"saturation and contrast must be at most 1; got {self.saturation}, {self.contrast}"
            )

    @classmethod
    def none(cls) -> Augmentation:
        """All strengths 0: `augment` then returns its input."""
        off = {field.name: 0.0 for field in fields(cls) if field.name != "scale_range"}
        return cls(**off, scale_range=(1.0, 1.0))


def augment(batch: CloudBatch, strength: Augmentation, *, draws: KeyedRandom) -> CloudBatch:
    """Random occlusion, geometry and colour changes of clouds.

    Args:
        batch: B clouds.
        strength: Strength of each change.
        draws: Source of all randomness.

    Returns:
        A batch of the same shapes; at least a quarter of a cloud's visible points stay visible.

    Raises:
        ValueError: ``draws`` has not one item for each cloud.
    """
    if len(draws) != len(batch):
        raise ValueError(
            f"draws must have an item for each of {len(batch)} clouds; got {len(draws)}"
        )
    batch = hide_points(batch, strength, draws=draws)
    if strength.mirror:
        batch = mirror(batch, _uniform((len(batch),), batch.points, draws) < strength.mirror)
    points = augment_points(batch.points, strength, draws=draws)
    colors = augment_colors(batch.colors, points, strength, visible=batch.visible, draws=draws)
    return replace(batch, points=points, colors=colors)


def augment_points(points: Tensor, strength: Augmentation, *, draws: KeyedRandom) -> Tensor:
    """Turns, stretches and jitters (B, P, 3) points."""
    batch = len(points)
    if strength.rotate or strength.rotate_full:
        angle = math.radians(strength.rotate) * _signed((batch,), points, draws)
        full = _uniform((batch,), points, draws) < strength.rotate_full
        anywhere = math.pi * _signed((batch,), points, draws)
        points = rotate_y(points, torch.where(full, anywhere, angle))
    if strength.scale:
        points = points * (strength.scale * _signed((batch, 1, 3), points, draws)).exp()
    low, high = strength.scale_range
    if low < high or low != 1:
        points = points * (low + (high - low) * _uniform((batch, 1, 3), points, draws))
    if strength.jitter:
        jitter = strength.jitter * _normal(tuple(points.shape), points, draws)
        limit = strength.jitter_limit or math.inf
        points = points + jitter.clamp(-limit, limit)
    return points


def rotate_y(points: Tensor, angle: Tensor) -> Tensor:
    """Turns (B, P, 3) points by (B,) radians about the y axis, from z towards x."""
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    x, y, z = points.unbind(-1)
    return torch.stack([cos * x + sin * z, y, cos * z - sin * x], dim=-1)


def mirror_x(points: Tensor, flip: Tensor) -> Tensor:
    """Swaps left and right of the clouds where the (B,) bool ``flip`` is set."""
    sign = torch.where(flip, -1.0, 1.0).to(points.dtype)
    x, y, z = points.unbind(-1)
    return torch.stack([x * sign[:, None], y, z], dim=-1)


def mirror(batch: CloudBatch, flip: Tensor) -> CloudBatch:
    """`mirror_x` of the batch, with left and right parts swapped."""
    other = torch.tensor(_MIRRORED, device=batch.part.device)[batch.part]
    part = torch.where(flip[:, None], other, batch.part)
    return replace(batch, points=mirror_x(batch.points, flip), part=part)


def hide_points(batch: CloudBatch, strength: Augmentation, *, draws: KeyedRandom) -> CloudBatch:
    """Point dropout: single points, contiguous runs, points behind an occluder, whole body parts.

    An occluder hides points beyond a random plane, below a height, in an upright band or in a box
    of the image plane. With probability ``occluder_color_leak`` the points behind it stay visible
    in its colour, like an occluder that a lift mistakes for clothing; their features are zeros, as
    those of the occluder are unknown.
    """
    points, colors, part, features = batch.points, batch.colors, batch.part, batch.features
    size, count = part.shape
    keep = torch.ones_like(part, dtype=torch.bool)
    if strength.point_dropout:
        fraction = strength.point_dropout * _uniform((size, 1), points, draws)
        keep &= _uniform((size, count), points, draws) >= fraction
    if strength.part_erase:
        anchor = draws.integers(count, 2).to(part.device)
        lost = (part[:, :, None] == part.gather(1, anchor)[:, None, :]).any(dim=2)
        keep &= ~(lost & (_uniform((size, 1), points, draws) < strength.part_erase))
    if strength.contiguous_dropout:
        keep &= ~_run(
            size, count, strength.contiguous_dropout * _uniform((size, 1), points, draws), draws
        )
    if strength.occlude:
        hidden = _occluded(points, strength, draws)
        leaking = _uniform((size, 1), points, draws) < strength.occluder_color_leak
        paint = _uniform((size, 1, 3), points, draws)
        paint = paint + 0.1 * _normal((size, count, 3), points, draws)
        painted = (hidden & leaking)[..., None]
        colors = torch.where(painted, paint.clamp(0, 1), colors)
        features = None if features is None else torch.where(painted, 0.0, features)
        keep &= ~hidden | leaking
    visible = batch.visible & _enough(keep, batch.visible, points, draws)
    return replace(batch, colors=colors, visible=visible, features=features)


def _run(size: int, count: int, fraction: Tensor, draws: KeyedRandom) -> Tensor:
    """(B, P) bool: contiguous run with the given (B, 1) fraction of each cloud's points."""
    length = (fraction * count).round()
    start = draws.uniform(1).to(fraction)
    start = (start * (count - length + 1)).floor()
    place = torch.arange(count, device=fraction.device)
    return (place >= start) & (place < start + length)


def _occluded(points: Tensor, strength: Augmentation, draws: KeyedRandom) -> Tensor:
    """(B, P) bool: points behind an occluder, a random fraction of each cloud with one.

    Each kind of occluder is a score per point; those with the lowest scores are hidden, so that
    the hidden fraction is the one drawn, independent of the cloud's shape.
    """
    batch, count, _ = points.shape
    direction = _normal((batch, 3, 1), points, draws)
    centre = points.gather(
        1,
        draws.integers(count, 1, 1).to(points.device).expand(-1, -1, 3),
    )
    offset = (points - centre).abs()
    aspect = _signed((batch, 1), points, draws).exp()
    scores = torch.stack(
        [
            (points @ direction).squeeze(-1),
            points[..., 1],
            offset[..., 0],
            torch.maximum(offset[..., 0] * aspect, offset[..., 1] / aspect),
        ],
        dim=1,
    )
    kind = draws.integers(scores.shape[1], 1, 1).to(points.device)
    score = scores.gather(1, kind.expand(-1, -1, count)).squeeze(1)
    rank = score.argsort(dim=1).argsort(dim=1)
    fraction = strength.occlude_max * _uniform((batch, 1), points, draws)
    present = _uniform((batch, 1), points, draws) < strength.occlude
    return (rank < fraction * count) & present


def _enough(keep: Tensor, visible: Tensor, like: Tensor, draws: KeyedRandom) -> Tensor:
    """(B, P) ``keep``, with random points restored up to a quarter of the visible ones."""
    key = _uniform(tuple(keep.shape), like, draws) + keep.to(like.dtype) + 2 * visible.to(like)
    # Visible points sort first, kept ones before lost ones: the first quarter of them always stays.
    rank = key.argsort(dim=1, descending=True).argsort(dim=1)
    least = (MIN_KEPT * visible.sum(dim=1, keepdim=True)).ceil()
    return keep | (visible & (rank < least))


def augment_colors(
    colors: Tensor,
    points: Tensor,
    strength: Augmentation,
    *,
    visible: Tensor,
    draws: KeyedRandom,
) -> Tensor:
    """Changes light, sensor and noise of (B, P, 3) colours; the result lies in [0, 1].

    ``points`` (B, P, 3) place the light gradient; ``visible`` (B, P) bool selects the colours of
    the contrast's mean.
    """
    batch = len(colors)
    changed = colors
    if strength.shading:
        direction = torch.nn.functional.normalize(_normal((batch, 3, 1), colors, draws), dim=1)
        along = (points @ direction).tanh()
        amount = strength.shading * _signed((batch, 1, 1), colors, draws)
        changed = changed * (amount * along).exp()
    if strength.exposure:
        changed = changed * (strength.exposure * _signed((batch, 1, 1), colors, draws)).exp()
    if strength.white_balance:
        cast = strength.white_balance * _signed((batch, 1, 3), colors, draws)
        changed = changed * cast.exp()
    if strength.gamma:
        exponent = (strength.gamma * _signed((batch, 1, 1), colors, draws)).exp()
        changed = changed.clamp(min=0) ** exponent
    if strength.saturation:
        factor = 1 + strength.saturation * _signed((batch, 1, 1), colors, draws)
        grey = changed.mean(dim=-1, keepdim=True)
        changed = grey + factor * (changed - grey)
    if strength.contrast:
        factor = 1 + strength.contrast * _signed((batch, 1, 1), colors, draws)
        weight = visible[..., None] / visible.sum(dim=1).clamp(min=1)[:, None, None]
        mean = (changed * weight).sum(dim=1, keepdim=True).mean(dim=2, keepdim=True)
        changed = mean + factor * (changed - mean)
    if strength.brightness:
        changed = changed + strength.brightness * _signed((batch, 1, 1), colors, draws)
    if strength.noise:
        amount = strength.noise * _uniform((batch, 1, 1), colors, draws)
        changed = changed + amount * _normal(tuple(colors.shape), colors, draws)
    return changed.clamp(0, 1)


def _uniform(shape: tuple[int, ...], like: Tensor, draws: KeyedRandom) -> Tensor:
    """Uniform in [0, 1)."""
    return draws.uniform(*shape[1:]).to(like)


def _signed(shape: tuple[int, ...], like: Tensor, draws: KeyedRandom) -> Tensor:
    """Uniform in [-1, 1)."""
    return _uniform(shape, like, draws) * 2 - 1


def _normal(shape: tuple[int, ...], like: Tensor, draws: KeyedRandom) -> Tensor:
    return draws.normal(*shape[1:]).to(like)
