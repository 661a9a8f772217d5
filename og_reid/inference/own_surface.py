"""Masks of people's own visible surface by a dense model, as evidence for lifting."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from pose import Pose
from pose.literals import Masks
from pose.runtime.defaults import plain_torch

from ..data.images.prompted_set import resize_image
from ..models.dense_reid import DenseReID
from .dense_encoder import DenseEncoder
from .model_names import DEFAULT_MODEL
from .pretrained import load_model

__all__ = ["MAX_UNDECIDED", "OwnSurface", "mask_source", "own_surface", "undecided"]

#: Largest `undecided` fraction of a mask that a lift relies on without further evidence.
MAX_UNDECIDED = 0.5
# The same for people cut by a wide image, such as a portrait: the lift leaves out doubtful points,
# which would be half of such a person.
_MAX_UNDECIDED_PORTRAIT = 0.25
# Mean score of keypoints from which the estimator is surer than a mask beyond that. Rendered people
# of the held-out world: 1 % have such scores and masks. Masks of real people are undecided in
# portraits, which no detector's crop is, and on large dark coats.
_SURE_SCORE = 0.9
_LOW, _HIGH = 0.2, 0.7  # probabilities between these are undecided
_PERSON = 0.5  # least mask value of person pixels
# Rows per column of a detector's crop of one person, as in the fit.
_UPRIGHT = 1.6
# Margins of a crop around keypoints, in heights of their box: above the eyes, below the ankles,
# and to the sides.
_ABOVE, _BELOW, _ASIDE = 0.12, 0.06, 0.1


@plain_torch()
@torch.no_grad()
def own_surface(images: Sequence[np.ndarray], model: DenseEncoder) -> list[Tensor]:
    """Probability that pixels show the own surface of the person at each image's centre.

    For ``mask`` of `meshes.lift_image` and ``masks`` of `meshes.lift_images`: coloured points and
    the fit then leave out what stands in front of the person, and other people.

    Args:
        images: (H, W, 3) uint8 RGB each.
        model: dense model with a part map, such as ``og_reid.load_model("default")``.

    Returns:
        (H, W) float32 in [0, 1] for each image, on the CPU; equal to the bit to that of the image
        alone.

    Raises:
        ValueError: the model has no part map.
    """
    network = _with_parts(model)
    size = (model.preprocessing.height, model.preprocessing.width)
    device = next(network.parameters()).device
    masks: list[Tensor] = []
    # One by one: as fast on one core, and sums over a batch round differently.
    for image in images:
        inputs = resize_image(image, size)[None].to(device)
        own = 1 - network(inputs).logits.softmax(1)[:, :1]
        masks.append(_resized(own.float().cpu(), image.shape[:2])[0, 0].clamp(0, 1))
    return masks


def _with_parts(model: object) -> DenseReID:
    network = model.model if isinstance(model, DenseEncoder) else model
    if not isinstance(network, DenseReID):
        raise ValueError(
            f"model must have a part map, such as 'default'; got {type(network).__name__}"
        )
    return network


def _resized(planes: Tensor, size: tuple[int, ...]) -> Tensor:
    return torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True)


def undecided(mask: Tensor, person: Tensor | None = None) -> float:
    """Fraction of a person's pixels for which a mask is neither near 0 nor near 1.

    1 for a mask without own surface.

    Args:
        mask: (H, W) probabilities of own surface.
        person: (H, W) mask of the person by a pose estimator; None, or an empty one, for the pixels
            that may be own surface.
    """
    if not bool((mask >= _HIGH).any()):
        return 1.0
    shown = mask > _LOW
    if person is not None and bool((person >= _PERSON).any()):
        shown = person >= _PERSON
    values = mask[shown]
    return float(((values > _LOW) & (values < _HIGH)).float().mean())


@dataclass(frozen=True)
class OwnSurface:
    """Masks for lifting by a dense model: an `og_reid.data.clouds.attempts.MaskSource`.

    Of an upright image the mask is that of `own_surface`, of another one that of a crop around the
    person's keypoints. Masks of which more than `MAX_UNDECIDED` is `undecided` are left out there,
    and in upright images of a person with sure keypoints: the model learned from rendered people in
    detectors' crops.

    Attributes:
        model: Argument of `og_reid.load_model`; the model is loaded in each process.
    """

    model: str | Path = DEFAULT_MODEL

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values that set these masks apart from others: rules, and digest of the weights.

        Raises:
            ValueError: There is no such model, or it has no part map.
        """
        encoder, digest = self._loaded, hashlib.sha256()
        for name, value in _with_parts(encoder).state_dict().items():
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        size = [encoder.preprocessing.height, encoder.preprocessing.width]
        weights = digest.hexdigest()[:40]
        rules = {"version": 3, "most": MAX_UNDECIDED}
        return {"type": "own-surface", "size": size, **rules, "weights": weights}

    @property
    def _loaded(self) -> DenseEncoder:
        model = load_model(self.model)
        _with_parts(model)
        assert isinstance(model, DenseEncoder)
        return model

    def __call__(
        self, images: Sequence[np.ndarray], poses: Sequence[Pose], *, alone: bool = True
    ) -> list[Tensor | None]:
        """Masks of one person in each image.

        Args:
            images: (H, W, 3) uint8 RGB each.
            poses: Pose of the person.
            alone: An upright image is a detector's crop of the person; otherwise all are cropped.

        Returns:
            (H, W) float32 in [0, 1] each, 0 outside of the crop; None without a person, and where
            the model is unsure.
        """
        model = self._loaded
        masks: list[Tensor | None] = []
        for image, pose in zip(images, poses, strict=True):
            crop = alone and _is_upright(image)
            box = _box(pose, image.shape[0], image.shape[1], whole=crop)
            if box is None:
                masks.append(None)
                continue
            left, top, right, bottom = box
            (own,) = own_surface([np.ascontiguousarray(image[top:bottom, left:right])], model)
            person = None if pose.mask is None else pose.mask[top:bottom, left:right]
            portrait = not crop and not bool(pose.keypoints.inside(*image.shape[:2]).all())
            limit = _MAX_UNDECIDED_PORTRAIT if portrait else MAX_UNDECIDED
            if undecided(own, person) > limit and not (crop and _is_doubtful(pose, image)):
                masks.append(None)
                continue
            whole = torch.zeros(image.shape[:2], dtype=torch.float32)
            whole[top:bottom, left:right] = own
            masks.append(whole)
        return masks


def _is_upright(image: np.ndarray) -> bool:
    return image.shape[0] >= _UPRIGHT * image.shape[1]


def _is_doubtful(pose: Pose, image: np.ndarray) -> bool:
    """True with a mean score of the keypoints inside the image under `_SURE_SCORE`."""
    inside = pose.keypoints.inside(image.shape[0], image.shape[1])
    return not bool(inside.any()) or float(pose.keypoints.score[inside].mean()) < _SURE_SCORE


def _box(pose: Pose, height: int, width: int, *, whole: bool) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of a detector's crop of a person; None without a person."""
    if not pose.found:
        return None
    if whole:
        return 0, 0, width, height
    points = pose.keypoints.xy[pose.keypoints.score > 0].double()
    low, high = points.amin(0), points.amax(0)
    tall = float(high[1] - low[1])
    top, bottom = float(low[1]) - _ABOVE * tall, float(high[1]) + _BELOW * tall
    # At least half as wide as tall, as detectors' crops of people are.
    half = max(float(high[0] - low[0]) / 2 + _ASIDE * tall, (bottom - top) / 4)
    middle = float(low[0] + high[0]) / 2
    left, right = max(0, int(middle - half)), min(width, int(middle + half) + 1)
    rows = max(0, int(top)), min(height, int(bottom) + 1)
    if right - left < 2 or rows[1] - rows[0] < 2:
        return None
    return left, rows[0], right, rows[1]


def mask_source(name: Masks) -> OwnSurface | None:
    """Source of masks by name; None for the estimator's masks of people.

    Raises:
        ValueError: There is no such source.
    """
    if name not in get_args(Masks):
        raise ValueError(f"masks must be one of {', '.join(get_args(Masks))}; got {name!r}")
    return OwnSurface() if name == "own-surface" else None
