"""Lift: an image and a pose to a coloured point cloud.

After OG-Net's 3D data (Zheng et al., TNNLS 2022, section III): fit a body, colour each surface
point by the pixel of its projection, and keep the background on a plane behind it. All points of
the body are kept, with a flag for visible ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from pose import COCO_17_FEET, Keypoints, Pose
from pose.files.reading import InputWarning, level_outside
from pose.formats.json_fields import are_fractions
from pose.person_selection import lies_outside
from pose.runtime.defaults import plain_torch

from .body.load import load_body
from .body.model import BodyModel
from .color import BodyView, color_vertices, part_evidence, project_body
from .fitting.fit import BodyFit
from .fitting.skeleton import Skeleton
from .hypotheses import fit_hypotheses
from .pointcloud import BACKGROUND, HIDDEN_GREY, PointCloud
from .quality import UNMEASURED, LiftQuality, measure_quality
from .reference_layout import reference_cloud
from .rotation import axis_angle_to_matrix

__all__ = ["Layout", "Lift", "lift_fit", "lift_image", "lift_images"]

Layout = Literal["surface", "reference"]
"""Point layout of a lifted cloud: see ``lift_image``."""

# Estimators' visibility is too rough for a strict threshold: only certain occlusion is dropped.
_SURELY_HIDDEN = 1e-3
# Least mean probability of the coloured points to show the person, where a mask gives it.
_CERTAIN = 0.9
_MARGIN = 0.3  # body heights: background farther from the body than this is left out


@dataclass(frozen=True, eq=False)
class Lift:
    """Result of the lift of one image.

    Attributes:
        cloud: the points of the body by vertex index, then the background points.
        fit: the fitted body, B = 1.
        view: projection of the body by the camera.
        quality: reprojection error, mean score, number of people and reasons for doubt; NaN for a
            lift made by hand.
    """

    cloud: PointCloud
    fit: BodyFit
    view: BodyView
    quality: LiftQuality = UNMEASURED

    @plain_torch()
    def upright(self) -> PointCloud:
        """The cloud turned by the camera's estimated pitch, so that y points away from gravity."""
        turn = torch.zeros(3)
        turn[0] = -self.fit.pitch[0]
        matrix = axis_angle_to_matrix(turn)
        return replace(
            self.cloud,
            points=self.cloud.points @ matrix.T,
            normals=None if self.cloud.normals is None else self.cloud.normals @ matrix.T,
        )

    @plain_torch()
    def canonical(self) -> PointCloud:
        """Body in its resting pose, with the colours and features of its points.

        Pose normalisation in 3D: two images of a person differ in the visible points, but not in
        pose. It needs the fit, so it precedes packing. Without background and normals; the origin
        is the rest pelvis.

        Raises:
            ValueError: The cloud lacks vertices, as in the reference layout with background.
        """
        body = self.fit.body
        kept = ~self.cloud.is_background
        if int(kept.sum()) != body.num_vertices:
            raise ValueError(
                f"the cloud must hold all {body.num_vertices} vertices of the body; got "
                f"{int(kept.sum())}: lift with layout='surface'"
            )
        rest = torch.eye(3).expand(1, body.num_joints, 3, 3)
        points = body.pose(rest, self.fit.betas).vertices[0]
        return replace(self.cloud.select(kept), points=points, normals=None)


@plain_torch()
def lift_image(
    image: np.ndarray,
    pose: Pose,
    body: BodyModel | None = None,
    *,
    background: int = 1500,
    evidence_threshold: float = 0.3,
    layout: Layout = "surface",
    mask: Tensor | None = None,
    pitch: float | None = None,
) -> Lift:
    """Lifts one image to a point cloud.

    Args:
        image: (H, W, 3) uint8 RGB.
        pose: keypoints of the person; without a person no body point is visible.
        body: the body model; None for the embedded one.
        background: number of background points (fewer where the image has fewer such pixels).
        evidence_threshold: least keypoint score of a visible part of the body; parts with a
            keypoint visibility under 0.001 are occluded, too.
        layout: ``"surface"``: all V vertices of the body, occluded ones too, and sampled
            background. ``"reference"``: as in the OG-Net authors' files, one point for each pixel
            of the image resized to 128 x 64 (8192 points): the vertices that own a pixel, then all
            other pixels. Scores and mask are ignored; ``background`` is on (any number) or off (0:
            all V vertices); see ``reference_layout``.
        mask: (H, W) float in [0, 1], probability that a pixel shows the person's own surface, not
            something in front of it; None: unknown. Stronger evidence than ``pose.mask``: the fit
            covers it, keypoints beside it count less, or not at all if a body without them has
            a silhouette closer to it, and visible points are those with the largest
            values, as many as have a mean of 0.9 (layout ``"surface"``).
        pitch: downward tilt of a calibrated camera, radians; None: unknown, see
            `meshes.fitting.fit.fit_body`.

    Returns:
        The cloud in metres, camera-aligned (x right, y up, z towards the camera; so in the
        reference layout, too: ``write_reference_obj`` turns it to the authors' frame), origin at
        the rest pelvis; with the fit behind it. Deterministic.
    """
    return lift_images(
        [image],
        [pose],
        body,
        background=background,
        evidence_threshold=evidence_threshold,
        layout=layout,
        masks=None if mask is None else [mask],
        pitch=pitch,
    )[0]


@plain_torch()
def lift_images(
    images: Sequence[np.ndarray],
    poses: Sequence[Pose],
    body: BodyModel | None = None,
    *,
    background: int = 1500,
    evidence_threshold: float = 0.3,
    layout: Layout = "surface",
    masks: Sequence[Tensor | None] | None = None,
    pitch: Tensor | float | None = None,
) -> list[Lift]:
    """``lift_image`` for many images, of any sizes, fitted together.

    Args:
        images: (H, W, 3) uint8 RGB each.
        poses: keypoints of the person in each.
        body: see ``lift_image``.
        background: likewise.
        evidence_threshold: likewise.
        layout: likewise.
        masks: ``mask`` of each image; None: unknown.
        pitch: of all cameras, or (N,) of each image's.

    Warns:
        InputWarning: at most one joint of a person lies inside the image, so that keypoints are
            probably no pixels of it; once for all images.
    """
    if layout not in get_args(Layout):
        raise ValueError(f"layout must be one of {', '.join(get_args(Layout))}; got {layout!r}")
    if len(images) != len(poses):
        raise ValueError(f"poses must be one for each of {len(images)} images; got {len(poses)}")
    if not images:
        return []
    body = load_body() if body is None else body
    owns = [None] * len(images) if masks is None else list(masks)
    if len(owns) != len(images):
        raise ValueError(f"masks must be one for each of {len(images)} images; got {len(owns)}")
    for number, (image, pose, own) in enumerate(zip(images, poses, owns, strict=True)):
        _check_image(image, f"images[{number}]")
        _check_mask(pose.mask, image, f"poses[{number}].mask")
        _check_mask(own, image, f"masks[{number}]")
    # Some readers of files give float64, which bodies do not have.
    poses = [replace(pose, keypoints=pose.keypoints.to(torch.float32)) for pose in poses]
    keypoints = Keypoints.stack([pose.keypoints for pose in poses])
    _warn_of_outsiders(images, poses)
    size = torch.tensor([image.shape[:2] for image in images])
    fits = fit_hypotheses(keypoints, size, body, masks, pitch)
    return [
        _by_pixels(image, pose, fits[number], background, own)
        if layout == "reference"
        else _color(image, pose, fits[number], background, evidence_threshold, own)
        for number, (image, pose, own) in enumerate(zip(images, poses, owns, strict=True))
    ]


@plain_torch()
def lift_fit(
    image: np.ndarray,
    fit: BodyFit,
    pose: Pose | None = None,
    *,
    background: int = 1500,
    evidence_threshold: float = 0.3,
    mask: Tensor | None = None,
) -> Lift:
    """Lifts one image to a point cloud by a given fit, such as `meshes.regressors.to_body_fit`'s.

    Args:
        image: (H, W, 3) uint8 RGB.
        fit: the fitted body, B = 1.
        pose: keypoints and mask of the person, for occluded parts; None: all parts inside the
            image count as visible, and take the colours of what hides them.
        background: see `lift_image`.
        evidence_threshold: see `lift_image`.
        mask: likewise.
    """
    _check_image(image, "image")
    _check_mask(mask, image, "mask")
    if len(fit) != 1:
        raise ValueError(f"fit must hold one body; got {len(fit)}: index it first")
    seen = pose or Pose(_projected_joints(fit, image.shape[0], image.shape[1]))
    return _color(image, seen, fit, background, evidence_threshold, mask)


def _projected_joints(fit: BodyFit, height: int, width: int) -> Keypoints:
    """Keypoints at the projections of the fit's joints, found where inside the image."""
    skeleton = Skeleton(fit.body)
    names = [name for name in COCO_17_FEET if name in skeleton.names]
    points = skeleton.pose(fit.rotations, fit.betas).points
    places = points[:, [skeleton.index(name) for name in names]]
    xy = fit.camera.project(places)[0, :, :2]
    inside = ((xy >= 0) & (xy <= torch.tensor([float(width), float(height)]))).all(-1).float()
    return Keypoints(xy, inside, inside, tuple(names))


def _check_image(image: np.ndarray, name: str) -> None:
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f"{name} must be an array (H, W, 3) uint8 RGB; got {type(image).__name__}: "
            "pose.read_image converts"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"{name} must be (H, W, 3) uint8 RGB; got {image.shape} {image.dtype}: "
            "pose.read_image converts"
        )


def _check_mask(mask: Tensor | None, image: np.ndarray, name: str) -> None:
    if mask is None:
        return
    if tuple(mask.shape) != image.shape[:2]:
        raise ValueError(
            f"{name} must have the image's size {image.shape[:2]}; got {tuple(mask.shape)}: "
            "resize it"
        )
    # Written so that NaN fails as well.
    if not mask.is_floating_point() or not bool(((mask >= 0) & (mask <= 1)).all()):
        raise ValueError(f"{name} must be floating point in [0, 1]; got {mask.dtype}: convert it")


def _warn_of_outsiders(images: Sequence[np.ndarray], poses: Sequence[Pose]) -> None:
    outside = [
        number
        for number, (image, pose) in enumerate(zip(images, poses, strict=True))
        if bool(lies_outside(pose.keypoints, (image.shape[0], image.shape[1])))
        or are_fractions(pose.keypoints)
    ]
    if outside:
        warnings.warn(
            "keypoints must be in pixels of their image; those of "
            f"{len(outside)} of {len(images)} images (number {', '.join(map(str, outside[:5]))}) "
            "have at most one joint inside, or all in [-1, 1]: the image shows nothing of these "
            "people",
            InputWarning,
            stacklevel=level_outside(),
        )


def _by_pixels(
    image: np.ndarray, pose: Pose, fit: BodyFit, background: int, own: Tensor | None
) -> Lift:
    """Lift in the reference layout."""
    cloud = reference_cloud(torch.from_numpy(image), fit, background=background > 0)
    if not pose.found:
        behind = cloud.is_background
        colors = torch.where(behind[:, None], cloud.colors, HIDDEN_GREY)
        cloud = replace(cloud, colors=colors, visible=behind)
    view = project_body(fit, *image.shape[:2])
    seen = bool(cloud.seen_mask.any())
    quality = measure_quality(image, pose, fit, view, seen, masked=own is not None)
    return Lift(cloud, fit, view, quality)


def _color(
    image: np.ndarray,
    pose: Pose,
    fit: BodyFit,
    background: int,
    evidence_threshold: float,
    own: Tensor | None,
) -> Lift:
    height, width = image.shape[:2]
    pixels = torch.from_numpy(image.astype(np.float32) / 255)
    view = project_body(fit, height, width)
    colors, seen = color_vertices(pixels, view, mask=pose.mask if own is None else own)
    if own is not None:
        seen = _most_certain(seen, own, view)
    else:  # keypoints decide, part by part
        found = pose.keypoints
        values = torch.stack([found.score, found.visibility])
        score, visibility = part_evidence(values, found, fit.body)
        seen &= (score > evidence_threshold) & (visibility > _SURELY_HIDDEN)
    if not pose.found:
        seen = torch.zeros_like(seen)
    colors = torch.where(seen[:, None], colors, HIDDEN_GREY)
    behind, behind_colors = _background(pixels, pose, fit, view, background)
    count = len(behind)
    vertices = fit.vertices[0]
    cloud = PointCloud(
        points=torch.cat([vertices, behind]),
        colors=torch.cat([colors, behind_colors]),
        normals=torch.cat(
            [
                view.normals,
                torch.tensor([0.0, 0.0, 1.0]).expand(count, 3),
            ]
        ),
        visible=torch.cat([seen, torch.ones(count, dtype=torch.bool)]),
        part=torch.cat([fit.body.part, torch.full((count,), BACKGROUND)]),
    )
    masked = own is not None
    quality = measure_quality(image, pose, fit, view, bool(seen.any()), masked=masked)
    return Lift(cloud, fit, view, quality)


def _most_certain(seen: Tensor, own: Tensor, view: BodyView) -> Tensor:
    """The seen vertices (V,) with the largest mask values, as many as have a mean of `_CERTAIN`."""
    height, width = own.shape
    column, row = view.projected[0, :, :2].floor().long().unbind(-1)
    value = own[row.clamp(0, height - 1), column.clamp(0, width - 1)]
    ordered, _ = torch.where(seen, value, torch.zeros_like(value)).sort(descending=True)
    mean = ordered.double().cumsum(0) / torch.arange(1, len(ordered) + 1)
    # Equal values are taken or left together.
    least = ordered[mean >= _CERTAIN][-1:]
    return seen & (value >= least) if len(least) else torch.zeros_like(seen)


def _background(
    pixels: Tensor, pose: Pose, fit: BodyFit, view: BodyView, count: int
) -> tuple[Tensor, Tensor]:
    """Up to ``count`` pixels beside the body, at the body's mean depth: points, colours."""
    height, width = pixels.shape[:2]
    low = view.projected[0, :, :2].amin(0)
    high = view.projected[0, :, :2].amax(0)
    margin = _MARGIN * float(high[1] - low[1])
    left, top = (max(0, int(value - margin)) for value in low)
    right = min(width, max(left + 1, int(high[0] + margin)))
    bottom = min(height, max(top + 1, int(high[1] + margin)))
    left, top = min(left, width - 1), min(top, height - 1)
    # A large image is subsampled to four times as many pixels as wanted.
    stride = max(1, int(((right - left) * (bottom - top) / (4 * max(count, 1))) ** 0.5))
    row, column = torch.meshgrid(
        torch.arange(top, bottom, stride), torch.arange(left, right, stride), indexing="ij"
    )
    row, column = row.flatten(), column.flatten()
    if pose.found:
        covered, _ = view.covers(column + 0.5, row + 0.5)
        row, column = row[~covered], column[~covered]
    order = torch.randperm(len(row), generator=torch.Generator().manual_seed(0))[:count].sort()
    row, column = row[order.values], column[order.values]
    place = torch.stack([column + 0.5, row + 0.5], -1)[None].float()
    points = fit.camera.unproject(place, fit.vertices[..., 2].mean(1))
    return points[0], pixels[row, column]
