"""Unwrapping: the visible surface of a fitted person as a texture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..body.atlas import Atlas, Texels, load_atlas
from ..color import BodyView, color_vertices, project_body
from ..fitting.fit import BodyFit
from ..lift import Lift
from .offsets import offset_vertices, outline_offsets
from .shading import even_light
from .values import SEEN, Texture

__all__ = ["unwrap", "unwrap_images"]

_GRAZING = 0.25  # least cosine between normal and line of sight: beyond, pixels mix surfaces
_DEPTH = 0.015  # metres behind the nearest surface at which a texel still belongs to it


@plain_torch()
def unwrap(
    source: Lift | BodyFit,
    image: np.ndarray | None = None,
    *,
    mask: Tensor | None = None,
    size: int = 256,
    swell: bool = True,
    relight: bool = True,
) -> Texture:
    """Texture of the person in an image.

    Args:
        source: lift or fitted body (B = 1) of the embedded body model. Of a lift, parts of the body
            that its mask or keypoints take for occluded are not seen.
        image: (H, W, 3) uint8 RGB; None takes the colours of the vertices of a lift, at their lower
            resolution.
        mask: (H, W) in [0, 1] or bool, the person's own pixels. Without one, whatever lies at the
            body's projection is taken for the person.
        size: texels of a side.
        swell: widen the body to the outline of ``mask``, for clothes and hair.
        relight: divide a rough estimate of the image's light out of the colours.

    Returns:
        The texture; without completion. Deterministic.

    Raises:
        ValueError: another body model, several bodies, a fit without an image, or arguments whose
            shapes disagree.
    """
    fit = source.fit if isinstance(source, Lift) else source
    if len(fit) != 1:
        raise ValueError(f"source must hold one body; got {len(fit)}: index it, as in fit[0]")
    atlas = load_atlas(fit.body)
    texels = atlas.texels(size)
    if image is None:
        if not isinstance(source, Lift):
            raise ValueError("image must be given for a fit; got None: only a lift has colours")
        return _of_vertices(source, atlas, texels, relight)
    pixels, own = _checked(image, mask)
    height, width = pixels.shape[:2]
    view = project_body(fit, height, width)
    offset = torch.zeros(fit.body.num_vertices)
    vertices = fit.vertices
    if swell and own is not None:
        offset = outline_offsets(fit, own, view)
        rest = offset_vertices(fit.body, fit.betas, offset)
        vertices = fit.body.skin(rest, fit.rotations, fit.betas).vertices
        view = project_body(fit, height, width, vertices=vertices)
    angle, places, near = _facing(texels, view, fit)
    if isinstance(source, Lift):
        near &= _evidence(source, texels)
    chosen = near.nonzero()[:, 0]
    points = replace(
        view,
        projected=places[chosen][None],
        faces_camera=torch.ones(len(chosen), dtype=torch.bool),
    )
    colors, seen = color_vertices(pixels, points, mask=own)
    chosen, colors = chosen[seen], colors[seen]
    weight = angle[chosen] * _density(atlas, texels, view, fit)[chosen]
    return _texture(texels, atlas, fit, offset, view.normals, chosen, colors, weight, relight)


@plain_torch()
def unwrap_images(
    sources: Sequence[Lift | BodyFit],
    images: Sequence[np.ndarray],
    masks: Sequence[Tensor | None] | None = None,
    *,
    size: int = 256,
    swell: bool = True,
    relight: bool = True,
) -> list[Texture]:
    """``unwrap`` of many images, one person each.

    Raises:
        ValueError: numbers of sources, images and masks disagree; or as ``unwrap``.
    """
    masks = [None] * len(sources) if masks is None else list(masks)
    if not len(sources) == len(images) == len(masks):
        raise ValueError(
            f"images and masks must be one for each of {len(sources)} sources; got {len(images)} "
            f"and {len(masks)}"
        )
    return [
        unwrap(source, image, mask=mask, size=size, swell=swell, relight=relight)
        for source, image, mask in zip(sources, images, masks, strict=True)
    ]


def _checked(image: np.ndarray, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8 RGB; got {image.shape} {image.dtype}")
    if mask is not None and tuple(mask.shape) != image.shape[:2]:
        raise ValueError(
            f"mask must have the image's size {image.shape[:2]}; got {tuple(mask.shape)}"
        )
    pixels = torch.from_numpy(image.astype(np.float32) / 255)
    return pixels, None if mask is None else mask.float()


def _facing(texels: Texels, view: BodyView, fit: BodyFit) -> tuple[Tensor, Tensor, Tensor]:
    """Of S * S texels: cosine of the angle (N,), places (N, 3), and those seen (N,) bool."""
    faces = fit.body.faces
    normal = texels.interpolate(view.normals, faces).flatten(0, 1)
    angle = (normal[:, 2] / normal.norm(dim=1).clamp_min(1e-6)).clamp(0, 1)
    places = texels.interpolate(view.projected[0], faces).flatten(0, 1)
    covered, depth = view.covers(places[:, 0], places[:, 1])
    near = texels.covered.flatten() & covered & (angle > _GRAZING)
    return angle, places, near & (places[:, 2] <= depth + _DEPTH / angle.clamp_min(0.3))


def _evidence(lift: Lift, texels: Texels) -> Tensor:
    """(N,) bool: texels on parts of the body that a lift does not take for occluded."""
    # Vertices that face away say nothing of an occluder: those around them decide.
    facing = lift.view.faces_camera
    seen_mask = lift.cloud.seen_mask[_on_body(lift)]
    known = torch.stack([(seen_mask & facing).float(), facing.float()], 1)
    seen, total = texels.interpolate(known, lift.fit.body.faces).flatten(0, 1).unbind(1)
    return (total > 0) & (seen >= 0.5 * total)


def _on_body(lift: Lift) -> Tensor:
    """(N,) bool: points of a lift's cloud that are the vertices of the body."""
    on_body = ~lift.cloud.is_background
    count = lift.fit.body.num_vertices
    if int(on_body.sum()) != count:
        raise ValueError(
            f"source must hold all {count} vertices of the body; got {int(on_body.sum())}: lift "
            "with layout='surface'"
        )
    return on_body


def _density(atlas: Atlas, texels: Texels, view: BodyView, fit: BodyFit) -> Tensor:
    """(N,) pixels per texel along a line, at most 1, as if seen at a right angle."""
    size = len(texels.face)
    flat, image = atlas.face_uv * size, view.projected[0][fit.body.faces]
    across = view.normals[fit.body.faces].mean(1)[:, 2].abs().clamp_min(_GRAZING)
    ratio = _areas(image) / (_areas(flat) * across).clamp_min(1e-6)
    return ratio.sqrt().clamp_max(1)[texels.face.clamp_min(0).flatten()]


def _areas(corners: Tensor) -> Tensor:
    """(F,) areas of triangles (F, 3, >= 2) in the plane of their first two coordinates."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return 0.5 * (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).abs()


def _of_vertices(lift: Lift, atlas: Atlas, texels: Texels, relight: bool) -> Texture:
    """Texture from the colours of a lift's vertices."""
    body, on_body = lift.fit.body, _on_body(lift)
    seen = lift.cloud.seen_mask[on_body].float()[:, None]
    values = torch.cat([lift.cloud.colors[on_body] * seen, seen], 1)
    mixed = texels.interpolate(values, body.faces).flatten(0, 1)
    angle = texels.interpolate(lift.view.normals, body.faces).flatten(0, 1)[:, 2].clamp(0, 1)
    chosen = (texels.covered.flatten() & (mixed[:, 3] > 0.5) & (angle > _GRAZING)).nonzero()[:, 0]
    return _texture(
        texels,
        atlas,
        lift.fit,
        torch.zeros(body.num_vertices),
        lift.view.normals,
        chosen,
        mixed[chosen, :3] / mixed[chosen, 3:],
        angle[chosen],
        relight,
    )


def _texture(
    texels: Texels,
    atlas: Atlas,
    fit: BodyFit,
    offset: Tensor,
    normals: Tensor,
    chosen: Tensor,
    colors: Tensor,
    weight: Tensor,
    relight: bool,
) -> Texture:
    """Texture of colours (M, 3) and weights (M,) at flat texels (M,)."""
    size = len(texels.face)
    if relight:
        turned = texels.interpolate(normals, fit.body.faces).flatten(0, 1)[chosen]
        group = atlas.chart[texels.face.flatten()[chosen]]
        unit = torch.nn.functional.normalize(turned, dim=1)
        colors = even_light(colors, unit, group, weight)
    color = torch.zeros(size * size, 3)
    visibility = torch.zeros(size * size)
    color[chosen] = colors.clamp(0, 1)
    visibility[chosen] = weight.clamp(0, 1)
    return Texture(
        color=color.reshape(size, size, 3),
        visibility=visibility.reshape(size, size),
        source=((visibility > 0).to(torch.uint8) * SEEN).reshape(size, size),
        betas=fit.betas[0],
        offset=offset,
    )
