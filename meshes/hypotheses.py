"""Hypotheses of a fit, scored by their silhouettes against masks of the person's own surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from pose import Keypoints

from .body.model import BodyModel
from .fitting.confidence import joint_confidence
from .fitting.fit import BodyFit, fit_body
from .fitting.skeleton import Skeleton
from .rasterizer import rasterize

__all__ = ["fit_hypotheses", "silhouette_overlap"]

_ROWS = 96  # of silhouettes
_UNTRUSTED = 1e-3  # score of keypoints that a hypothesis all but ignores


def silhouette_overlap(fit: BodyFit, mask: Tensor) -> float:
    """Soft intersection over union of a body's silhouette and a mask, in [0, 1].

    Args:
        fit: the fitted body, B = 1.
        mask: (H, W) float in [0, 1], of the image's size. What hides the person lowers the overlap
            of all bodies alike.
    """
    height, width = mask.shape
    factor = _ROWS / height
    size = _ROWS, max(1, round(width * factor))
    own = functional.interpolate(mask[None, None].float(), size, mode="area")[0, 0]
    projected = fit.camera.project(fit.vertices).clone()
    projected[..., 0] *= size[1] / width
    projected[..., 1] *= factor
    shape = (rasterize(projected, fit.body.faces, *size).face[0] >= 0).float()
    both = float((own * shape).sum())
    return both / max(float(own.sum() + shape.sum()) - both, 1e-6)


def fit_hypotheses(
    keypoints: Keypoints,
    size: Tensor,
    body: BodyModel,
    masks: Sequence[Tensor | None] | None = None,
    pitch: Tensor | float | None = None,
) -> list[BodyFit]:
    """Fits of a batch; with a mask the better of two.

    One hypothesis follows the keypoints, the other one the mask and the prior of poses: keypoints
    of an occluded person are often those of another one in front, or guesses.

    Args:
        keypoints: (B, K) joints.
        size: (B, 2) int, height and width of the images.
        body: the body model.
        masks: (H, W) of each image, or None.
        pitch: see `fit_body`.

    Returns:
        B fits of one body; ``error`` is that of the fit to the keypoints.
    """
    first = fit_body(keypoints, size, body, masks=masks, pitch=pitch)
    chosen = [first[row] for row in range(len(first))]
    known = [(row, mask) for row, mask in enumerate(masks or ()) if mask is not None]
    if not known:
        return chosen
    rows = torch.tensor([row for row, _ in known])
    some = keypoints[rows]
    some = replace(some, score=torch.where(some.score > 0, _UNTRUSTED, 0.0))
    tilt = pitch[rows] if isinstance(pitch, Tensor) and pitch.ndim else pitch
    others = fit_body(some, size[rows], body, masks=[mask for _, mask in known], pitch=tilt)
    skeleton = Skeleton(body)
    for number, (row, mask) in enumerate(known):
        other = others[number]
        if silhouette_overlap(other, mask) > silhouette_overlap(chosen[row], mask):
            # Doubt is about the keypoints as they are, not as this body's fit weighs them.
            sure = joint_confidence(
                other, keypoints[row : row + 1], size[row : row + 1], [mask], skeleton
            )
            chosen[row] = replace(other, error=chosen[row].error, confidence=sure)
    return chosen
