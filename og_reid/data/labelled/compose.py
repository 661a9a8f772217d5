"""Composition of a labelled image: backgrounds, other people and things, with exact surfaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .draws import Draws
from .layers import LABEL_STRIDE, Box, Layers, View, cover, resized, soft, visible_box
from .relief import cast_shadow, rounded
from .textures import background_texture, texture
from .things import outline

__all__ = [
    "LEAST_VISIBLE",
    "add_behind",
    "add_people",
    "add_things",
    "new_background",
    "without_person",
]

#: Least fraction of the person's whole surface that stays visible under all that is put in front.
LEAST_VISIBLE = 0.12
_LEAST_HIDDEN, _MOST_HIDDEN = 0.05, 0.7
_TRIES = 5
_LEAST_CLEAR = 0.9  # visible fraction of people that get another background
_COARSE = 4  # stride of the search for a place

Other = Callable[[Draws], View]


def new_background(layers: Layers, draws: Draws, other: Other) -> Layers:
    """The person on another background, where possible smaller and moved.

    A person that touches the border of the image stays in place: the cut would show. Where
    something is in front of the person, the image stays as it is: the hole would show.
    """
    if layers.own.sum() < _LEAST_CLEAR * layers.whole:
        return layers
    shape = layers.own.shape
    mask = layers.own > 0.5
    border = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    fill = background_texture(draws, (shape[0], shape[1]), lambda: other(draws))
    alpha = soft(mask)
    if not border and draws.flag(0.6):
        layers, alpha = _moved(layers, alpha, draws)
    rest = 1 - alpha
    image = layers.image * alpha[..., None] + fill * rest[..., None]
    return replace(layers, image=image, own=alpha, others=np.zeros_like(alpha))


def _moved(layers: Layers, alpha: np.ndarray, draws: Draws) -> tuple[Layers, np.ndarray]:
    """The person, its surface and labels at 0.6 to 1 of the size, elsewhere in the image."""
    high, wide = alpha.shape
    scale = draws.uniform(0.6, 1.0)
    rows, columns = max(8, round(high * scale)), max(8, round(wide * scale))
    # Mostly near the middle: the target is the person of the crop.
    top = round((high - rows) * 0.5 * (draws.uniform() + draws.uniform()))
    left = round((wide - columns) * 0.5 * (draws.uniform() + draws.uniform()))
    inner = (slice(top, top + rows), slice(left, left + columns))
    image = np.zeros_like(layers.image)
    image[inner] = resized(layers.image.astype(np.uint8), (rows, columns))
    moved = np.zeros_like(alpha)
    moved[inner] = resized(alpha, (rows, columns))
    cells = [
        np.clip(
            ((np.arange(side // LABEL_STRIDE) + 0.5) * LABEL_STRIDE - start)
            * (side / part / LABEL_STRIDE),
            0,
            side // LABEL_STRIDE - 1,
        ).astype(np.int64)
        for side, start, part in ((high, top, rows), (wide, left, columns))
    ]
    at = (cells[0][:, None], cells[1][None])
    factor = np.array([columns / wide, rows / high], np.float32)
    points = (layers.points + 0.5) * factor + (left, top) - 0.5
    return (
        replace(
            layers,
            image=image,
            part=layers.part[at],
            height=layers.height[at],
            points=points.astype(np.float32),
            whole=layers.whole * scale**2,
            box=_scaled(layers.box, (rows / high, columns / wide), (top, left)),
        ),
        np.clip(moved, 0, 1),
    )


def _scaled(box: Box, factors: tuple[float, float], start: tuple[int, int]) -> Box:
    return (
        box[0] * factors[0] + start[0], box[1] * factors[1] + start[1],
        box[2] * factors[0] + start[0], box[3] * factors[1] + start[1],
    )  # fmt: skip


def add_behind(layers: Layers, draws: Draws, other: Other) -> Layers:
    """One or two other people beside or behind the person."""
    for _ in range(1 + draws.flag(0.3)):
        cutout = _Cutout.draw(draws, other, draws.uniform(0.6, 1.1) * _size(layers))
        top, _, bottom, _ = layers.box
        wide = layers.own.shape[1]
        # Farther people stand higher in the image.
        foot = bottom - draws.uniform(-0.05, 0.2) * (bottom - top)
        row = foot - len(cutout.alpha)
        column = draws.uniform(-0.3, 1.3) * wide - cutout.alpha.shape[1] / 2
        fill, alpha = cutout.placed(layers.own.shape, int(row), int(column))
        free = alpha * (1 - layers.own)
        layers = replace(
            layers,
            image=layers.image * (1 - free[..., None]) + fill * free[..., None],
            others=layers.others * (1 - free) + free,
        )
    return layers


def add_people(layers: Layers, draws: Draws, other: Other) -> Layers:
    """One or two other people in front, where they hide 5 to 70 % of the visible surface."""
    least = LEAST_VISIBLE * layers.whole
    for _ in range(1 + draws.flag(0.25)):
        cutout = _Cutout.draw(draws, other, draws.log_uniform(0.6, 1.7) * _size(layers))
        place = _search(layers, cutout.alpha, draws, draws.uniform(0.1, 0.65))
        if place is None:
            continue
        fill, alpha = cutout.placed(layers.own.shape, *place)
        covered = cover(layers, fill, alpha, person=True)
        if covered.own.sum() >= least:
            layers = covered
    return layers


def add_things(layers: Layers, draws: Draws, other: Other) -> Layers:
    """One or two things in front that hide 5 to 70 % of the visible surface each."""
    least = LEAST_VISIBLE * layers.whole
    shape = (layers.own.shape[0], layers.own.shape[1])
    for _ in range(1 + draws.flag(0.2)):
        surface = layers.own.sum()
        for _ in range(_TRIES):
            alpha = outline(draws, shape, visible_box(layers.own))
            left = float((layers.own * (1 - alpha)).sum())
            hidden = 1 - left / max(float(surface), 1e-6)
            if _LEAST_HIDDEN <= hidden <= _MOST_HIDDEN and left >= least:
                layers = _covered(layers, alpha, draws, other)
                break
    return layers


def _covered(layers: Layers, alpha: np.ndarray, draws: Draws, other: Other) -> Layers:
    """Layers with a thing in front: textured, in half of the cases rounded or with a shadow."""
    fill = texture(draws, (alpha.shape[0], alpha.shape[1]), lambda: other(draws))
    if draws.flag(0.5):
        fill = rounded(fill, alpha, draws)
    if draws.flag(0.4):
        layers = replace(layers, image=cast_shadow(layers.image, alpha, draws))
    return cover(layers, fill, alpha, person=False)


def without_person(layers: Layers, draws: Draws, other: Other) -> Layers:
    """A background and up to three things in front, where there is no person at all."""
    shape = (layers.own.shape[0], layers.own.shape[1])
    none = np.zeros_like(layers.own)
    fill = background_texture(draws, shape, lambda: other(draws))
    layers = replace(layers, image=fill, own=none, others=none)
    for _ in range(draws.integer(0, 4)):
        layers = _covered(layers, outline(draws, shape, layers.box), draws, other)
    return layers


def _size(layers: Layers) -> float:
    """Height of the person, as a fraction of the image's; that of uncut people is about 0.9."""
    return min(1.0, (layers.box[2] - layers.box[0]) / (0.9 * layers.own.shape[0]))


@dataclass(frozen=True, eq=False)
class _Cutout:
    """Another person: (h, w, 3) float32 colours and (h, w) coverage."""

    image: np.ndarray
    alpha: np.ndarray

    @classmethod
    def draw(cls, draws: Draws, other: Other, scale: float) -> _Cutout:
        view = other(draws)
        top, left, bottom, right = (int(side) for side in visible_box(view.mask))
        inner = (slice(top, bottom), slice(left, right))
        size = (max(8, round((bottom - top) * scale)), max(4, round((right - left) * scale)))
        image = resized(view.image[inner], size).astype(np.float32)
        alpha = resized(soft(view.mask)[inner], size)
        image *= draws.uniform(0.75, 1.25)
        flip = (slice(None), slice(None, None, -1 if draws.flag(0.5) else 1))
        return cls(np.minimum(image, 255)[flip], np.clip(alpha, 0, 1)[flip])

    def placed(
        self, shape: tuple[int, ...], row: int, column: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) colours and (H, W) coverage with the first pixel at a row and column."""
        fill = np.zeros((*shape[:2], 3), np.float32)
        alpha = np.zeros(shape[:2], np.float32)
        high, wide = self.alpha.shape
        top, bottom = max(0, row), min(shape[0], row + high)
        left, right = max(0, column), min(shape[1], column + wide)
        if top < bottom and left < right:
            to = (slice(top, bottom), slice(left, right))
            of = (slice(top - row, bottom - row), slice(left - column, right - column))
            fill[to], alpha[to] = self.image[of], self.alpha[of]
        return fill, alpha


def _search(
    layers: Layers, alpha: np.ndarray, draws: Draws, target: float
) -> tuple[int, int] | None:
    """Row and column for a cutout where it hides about ``target`` of the surface.

    Returns:
        The best of some drawn places; None if all hide too little or too much.
    """
    _, left, _, right = visible_box(layers.own)
    top, _, bottom, _ = layers.box
    small, mask = layers.own[::_COARSE, ::_COARSE], alpha[::_COARSE, ::_COARSE]
    total = max(float(small.sum()), 1e-6)
    best, best_gap = None, np.inf
    for _ in range(12):
        # Nearer people stand lower in the image, so that their feet are below or outside.
        foot = bottom + draws.uniform(-0.08, 0.45) * (bottom - top)
        row = round((foot - alpha.shape[0]) / _COARSE)
        column = round((draws.uniform(left, right) - alpha.shape[1] / 2) / _COARSE)
        y, x = max(0, row), max(0, column)
        low, far = min(len(small), row + len(mask)), min(small.shape[1], column + mask.shape[1])
        if low <= y or far <= x:
            continue
        piece = mask[y - row : low - row, x - column : far - column]
        hidden = float((small[y:low, x:far] * piece).sum()) / total
        if abs(hidden - target) < best_gap and _LEAST_HIDDEN <= hidden <= _MOST_HIDDEN:
            best, best_gap = (row * _COARSE, column * _COARSE), abs(hidden - target)
    return best
