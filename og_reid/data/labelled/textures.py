"""Textures of things in front and backgrounds: noise, stripes, checks, regions of other images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .draws import Draws
from .layers import View, resized

__all__ = ["background_texture", "color", "noise_field", "scenery", "texture"]

Shape = tuple[int, int]


def color(draws: Draws) -> np.ndarray:
    """(3,) float32 RGB in [0, 255]: mostly greys and muted colours."""
    value = 255 * draws.uniform(0.06, 0.97)
    spread = draws.pick((0.04, 0.25, 0.8), (0.45, 0.35, 0.2))
    tint = draws.uniforms(3)
    return (value * (1 - spread * (1 - tint / tint.max()))).astype(np.float32)


def noise_field(draws: Draws, shape: Shape, cells: int, octaves: int = 2) -> np.ndarray:
    """(H, W) float32 smooth noise of mean 0 and about unit deviation.

    Args:
        draws: Random numbers.
        shape: H and W.
        cells: Waves over the width, from 1.
        octaves: Number of octaves, each of half the strength.
    """
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        wide = min(shape[1], cells << octave) + 1
        high = min(shape[0], max(2, round(wide * shape[0] / shape[1])))
        total += 0.5**octave * resized(draws.normals(high, wide), shape, cubic=True)
    return total * 1.4


def texture(draws: Draws, shape: Shape, other: Callable[[], View]) -> np.ndarray:
    """(H, W, 3) float32 RGB in [0, 255], shaded.

    Args:
        draws: Random numbers.
        shape: H and W.
        other: Function that gives another image of the set.
    """
    kind = draws.pick(_SURFACES, _OFTEN)
    surface = kind(draws, shape, other)
    top, bottom = draws.uniform(0.6, 1.3), draws.uniform(0.6, 1.1)
    left, right = draws.uniform(0.8, 1.2), draws.uniform(0.8, 1.2)
    down = np.linspace(top, bottom, shape[0], dtype=np.float32)[:, None, None]
    along = np.linspace(left, right, shape[1], dtype=np.float32)[None, :, None]
    return np.clip(surface * (down * along), 0, 255)


def background_texture(draws: Draws, shape: Shape, other: Callable[[], View]) -> np.ndarray:
    """(H, W, 3) float32 RGB in [0, 255]: region of another image, or an artificial scene."""
    if draws.flag(0.8):
        return scenery(draws, other())
    wall, floor = _plain(draws, shape), _plain(draws, shape)
    if draws.flag(0.7):
        line = int(shape[0] * draws.uniform(0.15, 0.85))
        wall = np.concatenate([wall[:line], floor[line:]])
    return wall


def scenery(draws: Draws, view: View) -> np.ndarray:
    """(H, W, 3) float32 RGB of another image without its person, at a random scale and place.

    The person's place takes the colours of the other half of its side, or of around.
    """
    high, wide = view.mask.shape
    half = wide // 2
    person = _grown(view.mask)
    hollow = view.image * ~person[..., None]
    image = _around(hollow, ~person) * person[..., None] + hollow
    for side in (slice(0, half), slice(half, wide)):
        other = person[:, side][:, ::-1]
        take = (person[:, side] & ~other)[..., None]
        np.copyto(image[:, side], hollow[:, side][:, ::-1], where=take)
    zoom = draws.log_uniform(1.0, 2.0)
    rows, columns = high / zoom, wide / zoom
    top, left = draws.uniform(0, high - rows), draws.uniform(0, wide - columns)
    found = resized(image, (high, wide), box=(top, left, top + rows, left + columns))
    return (found[:, ::-1] if draws.flag(0.5) else found).astype(np.float32)


def _cloth(draws: Draws, shape: Shape, view: View) -> np.ndarray:
    """Clothes of another person, enlarged: fabrics alone do not make a surface the person's own."""
    rows, columns = np.nonzero(view.mask)
    place = draws.integer(0, len(rows)) if len(rows) else 0
    row, column = (rows[place], columns[place]) if len(rows) else (shape[0] // 2, shape[1] // 2)
    high = draws.log_uniform(12, 60)
    wide = min(view.mask.shape[1], high * shape[1] / shape[0])
    top = float(np.clip(row - high / 2, 0, view.mask.shape[0] - high))
    left = float(np.clip(column - wide / 2, 0, view.mask.shape[1] - wide))
    found = resized(view.image, shape, box=(top, left, top + high, left + wide), cubic=True)
    return found.astype(np.float32)


def _grown(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool, the mask and the two pixels around it, where its colours bleed."""
    rows = mask.copy()
    for step in (1, 2):
        rows[step:] |= mask[:-step]
        rows[:-step] |= mask[step:]
    found = rows.copy()
    for step in (1, 2):
        found[:, step:] |= rows[:, :-step]
        found[:, :-step] |= rows[:, step:]
    return found


def _around(hollow: np.ndarray, free: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 smooth colours of the free surroundings of each pixel."""
    from PIL import Image

    high, wide = free.shape
    colors = np.asarray(Image.fromarray(hollow).reduce(8)).astype(np.float32)
    level = Image.fromarray(free.astype(np.uint8) * 255).reduce(8)
    mass = np.asarray(level).astype(np.float32)[..., None] / 255 + 1e-4
    colors += 1e-4 * (colors.sum((0, 1)) / mass.sum((0, 1)))
    for _ in range(6):  # each step spreads colours by two blocks
        colors, mass = _spread(colors), _spread(mass)
    return resized(np.clip(colors / mass, 0, 255).astype(np.uint8), (high, wide))


def _spread(values: np.ndarray) -> np.ndarray:
    padded = np.pad(values, ((2, 2), (2, 2), (0, 0)), mode="edge")
    rows = padded[:-4] + padded[2:-2] + padded[4:]
    mean: np.ndarray = (rows[:, :-4] + rows[:, 2:-2] + rows[:, 4:]) / 9
    return mean


def _plain(draws: Draws, shape: Shape) -> np.ndarray:
    return draws.pick((_flat, _stripes, _speckled), (0.4, 0.25, 0.35))(draws, shape)


def _flat(draws: Draws, shape: Shape) -> np.ndarray:
    """One colour with faint smooth unevenness."""
    uneven = noise_field(draws, shape, draws.integer(1, 6), 1)
    return color(draws) * (1 + draws.uniform(0.0, 0.12) * uneven)[..., None]


def _stripes(draws: Draws, shape: Shape) -> np.ndarray:
    """Stripes or checks, straight or slanted."""
    period = draws.log_uniform(5, 50)
    angle = draws.pick((0.0, np.pi / 2, draws.uniform(0, np.pi)), (0.4, 0.4, 0.2))
    rows = np.arange(shape[0], dtype=np.float32)[:, None]
    columns = np.arange(shape[1], dtype=np.float32)[None]
    along = (rows * np.sin(angle) + columns * np.cos(angle)) * (2 * np.pi / period)
    wave = np.sin(along + draws.uniform(0, 6.3))
    if draws.flag(0.4):
        other = draws.log_uniform(5, 50)
        across = (columns * np.sin(angle) - rows * np.cos(angle)) * (2 * np.pi / other)
        wave = wave * np.sin(across + draws.uniform(0, 6.3))
    level = draws.uniform(-0.6, 0.6)
    blend = np.clip((wave - level) * 4 + 0.5, 0, 1)[..., None]
    return color(draws) * blend + color(draws) * (1 - blend)


def _speckled(draws: Draws, shape: Shape) -> np.ndarray:
    """Two colours, blended by noise: stone, foliage, cloth."""
    field = noise_field(draws, shape, draws.integer(2, 24), 3)
    blend = np.clip(0.5 + draws.uniform(0.2, 1.0) * field, 0, 1)[..., None]
    return color(draws) * blend + color(draws) * (1 - blend)


def _bricks(draws: Draws, shape: Shape) -> np.ndarray:
    """Bricks, tiles or planks: rows of blocks of like colours with joints between."""
    tall = draws.log_uniform(4, 40)
    wide = tall * draws.log_uniform(1.0, 8.0)
    rows = (np.arange(shape[0], dtype=np.float32) + draws.uniform(0, tall))[:, None]
    columns = (np.arange(shape[1], dtype=np.float32) + draws.uniform(0, wide))[None]
    course = np.floor(rows / tall)
    along = columns + course * (wide * draws.pick((0.0, 0.5, 0.37)))
    column = np.floor(along / wide)
    # A hash of the two numbers of a block gives its shade.
    shade = np.modf(np.abs(np.sin(course * 12.9898 + column * 78.233) * 43758.547))[0]
    level = 1 + draws.uniform(0.05, 0.4) * (shade - 0.5)
    joint = draws.uniform(0.5, 2.0)
    gap = (rows - course * tall < joint) | (along - column * wide < joint)
    surface = color(draws) * level[..., None]
    np.copyto(surface, color(draws), where=gap[..., None])
    return surface.astype(np.float32)


def _lettering(draws: Draws, shape: Shape) -> np.ndarray:
    """Plate with lines of strokes in another colour: signs, posters, printed boxes."""
    surface = np.broadcast_to(color(draws), (*shape, 3)).copy()
    for _ in range(draws.integer(1, 5)):
        tall = draws.log_uniform(5, 40)
        top = int(draws.uniform(0, shape[0] - tall))
        ink, weight = color(draws), draws.uniform(0.35, 0.8)
        cells = max(4, round(shape[1] / tall * 3))
        strokes = draws.uniforms(4, cells) < weight
        lines = resized(strokes.astype(np.uint8) * 255, (int(tall), shape[1])) > 127
        np.copyto(surface[top : top + int(tall)], ink, where=lines[..., None])
    return surface


# Surfaces of things, and how often each is drawn.
_SURFACES: tuple[Callable[[Draws, Shape, Callable[[], View]], np.ndarray], ...] = (
    lambda draws, _, other: scenery(draws, other()),
    lambda draws, shape, other: _cloth(draws, shape, other()),
    lambda draws, shape, _: _flat(draws, shape),
    lambda draws, shape, _: _stripes(draws, shape),
    lambda draws, shape, _: _speckled(draws, shape),
    lambda draws, shape, _: _bricks(draws, shape),
    lambda draws, shape, _: _lettering(draws, shape),
)
_OFTEN = (0.22, 0.13, 0.25, 0.12, 0.16, 0.06, 0.06)
