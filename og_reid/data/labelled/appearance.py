"""Light, sensor, resolution and compression of an image; the truth stays the same."""

from __future__ import annotations

import io

import numpy as np

from .config import CompositeConfig
from .draws import Draws
from .layers import resized

__all__ = ["degraded", "lit"]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def lit(image: np.ndarray, own: np.ndarray, config: CompositeConfig, draws: Draws) -> np.ndarray:
    """Image in another light.

    Args:
        image: (H, W, 3) float32 RGB in [0, 255].
        own: (H, W) in [0, 1], the person, for back light.
        config: Probabilities of the changes.
        draws: Random numbers.

    Returns:
        (H, W, 3) float32 in [0, 255].
    """
    changed, backlit = draws.flag(config.light), draws.flag(config.backlight)
    dark, grey = draws.flag(config.dark), draws.flag(config.grey)
    image = image / 255
    if changed:
        image = _spatial(_toned(image, draws), draws)
    if backlit:
        person = own[..., None] * (1 - draws.uniform(0.2, 0.65))
        image = image * (1 - own[..., None] + person) * draws.uniform(0.9, 1.5)
    if dark:
        image = _night(image, draws)
    if grey:
        image = np.repeat((image @ _LUMA)[..., None], 3, -1)
    return np.clip(image * 255, 0, 255)


def degraded(image: np.ndarray, config: CompositeConfig, draws: Draws) -> np.ndarray:
    """Image as a poor sensor and a poor connection give it.

    Args:
        image: (H, W, 3) float32 RGB in [0, 255].
        config: Probabilities of the changes.
        draws: Random numbers.

    Returns:
        The same shape and range.
    """
    blurred, small = draws.flag(config.blur), draws.flag(config.resolution)
    noisy, sharp, packed = (
        draws.flag(each) for each in (config.noise, config.sharpen, config.jpeg)
    )
    size = (image.shape[0], image.shape[1])
    if blurred:
        image = _blurred(image, draws)
    if small:
        rows = min(size[0], round(draws.uniform(24, 150)))
        columns = max(12, round(rows * size[1] / size[0]))
        image = resized(_bytes(image), (rows, columns), cubic=draws.flag(0.3)).astype(np.float32)
    if noisy:
        image = _noisy(image, draws)
    if sharp:
        image = image + draws.uniform(0.4, 1.6) * (image - _mean3(image))
    if packed:
        # Blocks of 8 x 8 pixels leave little of a thumbnail at low quality.
        least = 18 if len(image) >= 80 else 45
        image = _compressed(_bytes(image), round(draws.uniform(least, 92)))
    if small:
        image = resized(_bytes(image), size, cubic=draws.flag(0.5)).astype(np.float32)
    return np.clip(image, 0, 255)


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def _toned(image: np.ndarray, draws: Draws) -> np.ndarray:
    """Gain, white balance, contrast, gamma and saturation; highlights clip."""
    gain = _exposure(image, draws.log_uniform(0.5, 1.6), 0.18, 0.75)
    warm, green = draws.normal(0.1), draws.normal(0.04)
    balance = np.array([1 + warm, 1 + green, 1 - warm], np.float32)
    gamma = draws.log_uniform(0.65, 1.5)
    contrast = draws.uniform(0.6, 1.4)
    steps = np.linspace(0, 1, 256, dtype=np.float32)
    curve = np.clip(steps[:, None] * (gain * balance), 0, 1) ** gamma
    middle = float(curve.mean())
    curve = (curve - middle) * contrast + middle
    index = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.intp)  # a power of each pixel is slow
    image = np.stack([curve[:, c][index[..., c]] for c in range(3)], -1)
    if draws.flag(0.5):
        luma = (image @ _LUMA)[..., None]
        image = luma + (image - luma) * draws.uniform(0.3, 1.5)
    return np.clip(image, 0, 1)


def _exposure(image: np.ndarray, gain: float, low: float, high: float) -> float:
    """Gain that leaves the mean level within bounds: cameras expose for the scene."""
    level = max(float(image.mean()), 0.01)
    return max(low, min(high, level * gain)) / level


def _spatial(image: np.ndarray, draws: Draws) -> np.ndarray:
    """Gradient of light, vignetting, haze."""
    high, wide = image.shape[:2]
    y = np.linspace(-1, 1, high, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, wide, dtype=np.float32)[None]
    gradient, vignette, haze = draws.flag(0.4), draws.flag(0.15), draws.flag(0.12)
    if gradient:
        angle, strength = draws.uniform(0, 2 * np.pi), draws.uniform(0.1, 0.6)
        image = image * (1 + strength * (y * np.sin(angle) + x * np.cos(angle)))[..., None]
    if vignette:
        image = image * (1 - draws.uniform(0.1, 0.35) * (x * x + y * y))[..., None]
    if haze:
        veil = draws.uniform(0.1, 0.5)
        image = image * (1 - veil) + veil * np.float32(draws.uniform(0.5, 1.0))
    return image


def _night(image: np.ndarray, draws: Draws) -> np.ndarray:
    """An eighth to half of the light, in half of the cases from a lamp, less colour, noise."""
    gain = _exposure(image, draws.log_uniform(0.12, 0.5), 0.06, 0.3)
    if draws.flag(0.5):
        image = image * _lamp(image.shape[:2], draws)[..., None]
    luma = (image @ _LUMA)[..., None]
    image = (luma + (image - luma) * draws.uniform(0.3, 1.0)) * gain
    tint = np.array([1 + draws.normal(0.12), 1, 1 + draws.normal(0.12)], np.float32)
    noise = draws.uniform(0.004, 0.02) * draws.normals(*image.shape)
    return image * tint + noise


def _lamp(shape: tuple[int, ...], draws: Draws) -> np.ndarray:
    """(H, W) float32 light of a near lamp, of mean 1."""
    y = (np.arange(shape[0], dtype=np.float32) / shape[0] - draws.uniform(-0.3, 1.0))[:, None]
    x = (np.arange(shape[1], dtype=np.float32) / shape[0] - draws.uniform(-0.3, 0.8))[None]
    pool = 1 / (draws.uniform(0.05, 0.4) + x * x + y * y)
    return pool / pool.mean()


def _blurred(image: np.ndarray, draws: Draws) -> np.ndarray:
    """Defocus, or motion along a line."""
    if draws.flag(0.5):
        from PIL import Image, ImageFilter

        radius = draws.uniform(0.4, 2.2)
        found = Image.fromarray(_bytes(image)).filter(ImageFilter.GaussianBlur(radius))
        return np.asarray(found).astype(np.float32)
    length, angle = draws.integer(3, 10), draws.uniform(0, np.pi)
    if draws.flag(0.6):  # people and cameras move sideways
        angle = draws.normal(0.15)
    reach = length // 2 + 1
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    total = np.zeros_like(image)
    for step in np.linspace(-(length - 1) / 2, (length - 1) / 2, length):
        row, column = round(reach + step * np.sin(angle)), round(reach + step * np.cos(angle))
        total += padded[row : row + len(image), column : column + image.shape[1]]
    return total / length


def _noisy(image: np.ndarray, draws: Draws) -> np.ndarray:
    """Read noise and shot noise; more of both in a dark image, whose signal is amplified."""
    mean = float(image.mean())
    read = draws.uniform(0.3, 4.0) * (1 + max(0.0, 1 - mean / 90))
    shot = draws.uniform(0.0, 0.45)
    deviation = read + shot * np.sqrt(np.maximum(image, 0))
    # Not so much that nothing is left of the image.
    deviation *= min(1.0, 0.6 * float(image.std()) / max(float(deviation.mean()), 1e-6))
    noise = draws.normals(*image.shape)
    if draws.flag(0.4):  # luminance alone
        noise[..., 1:] = noise[..., :1]
    return image + noise * deviation


def _mean3(image: np.ndarray) -> np.ndarray:
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    mean: np.ndarray = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
    return mean


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """JPEG and back."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    stream.seek(0)
    with Image.open(stream) as found:
        return np.asarray(found.convert("RGB")).astype(np.float32)
