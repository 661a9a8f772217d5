"""Colours for texels that no image shows: from the opposite side of the body, then from near by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..body.atlas import Atlas, load_atlas
from ..body.load import load_body
from ..body.model import BodyModel
from .values import MIRRORED, NEARBY, UNKNOWN, Texture

__all__ = ["complete_texture"]

_NEIGHBORS = 12
# Weights of the axes of the rest pose in distances over the surface. On trunk and legs a place at
# the same height counts as near, on arms one at the same distance from the shoulder; the back of a
# garment resembles its front. Heads have no such likeness.
_SCALES = {"head": (1.0, 1.0, 1.0), "trunk": (1.0, 1.6, 0.4), "arm": (1.6, 0.6, 0.6)}
_FOREHEAD = 0.7  # metres over the pelvis
_FACE_SEEN = 0.15  # fraction of a face from which it is completed by itself
_HAND_SEEN = 3e-4  # of all texels
_HAND_SURE = 0.3  # least visibility
_OTHER = 0.5  # metres that another part of the body adds to a distance


@plain_torch()
def complete_texture(
    texture: Texture, body: BodyModel | None = None, *, mirror: bool = True
) -> Texture:
    """Texture with a colour at every texel of the body.

    Unseen texels take the colour of their mirror image on the body where that is seen; the others
    a mean of the nearest ones with a colour in the rest pose. ``source`` flags both; visibility
    stays 0 there.

    Args:
        texture: a texture; a complete one, or one without any colour, is returned as it is.
        body: the body model; None for the embedded one.
        mirror: take colours from the opposite side of the body.
    """
    body = load_body() if body is None else body
    atlas = load_atlas(body)
    covered = atlas.texels(texture.size).covered
    color, source = texture.color, texture.source
    if not bool((source != UNKNOWN).any() and (covered & (source == UNKNOWN)).any()):
        return texture
    if mirror:
        free = covered & (source == UNKNOWN) & (source.flip(1) != UNKNOWN)
        color = torch.where(free[..., None], color.flip(1), color)
        source = torch.where(free, MIRRORED, source)
    color, source = _with_face(atlas, body, texture.visibility, color, source)
    missing = covered & (source == UNKNOWN)
    if bool(missing.any()):
        places = _places(atlas, body, texture.size)
        color = color.clone()
        color[missing] = _nearby(places, source != UNKNOWN, missing, color)
        source = torch.where(missing, NEARBY, source)
    return replace(texture, color=color, source=source.to(torch.uint8))


def _with_face(
    atlas: Atlas, body: BodyModel, visibility: Tensor, color: Tensor, source: Tensor
) -> tuple[Tensor, Tensor]:
    """Skin of the hands on a face that is not seen; else hair or a hat would cover it."""
    texels = atlas.texels(len(source))
    chart = torch.where(texels.covered, atlas.chart[texels.face.clamp_min(0)], -1)
    rest = texels.interpolate(body.v_template, body.faces)
    face = (chart == atlas.charts.index("head_front")) & (rest[..., 1] < _FOREHEAD)
    hands = [number for number, name in enumerate(atlas.charts) if "hand" in name]
    skin = torch.isin(chart, torch.tensor(hands)) & (visibility > _HAND_SURE)
    free = face & (source == UNKNOWN)
    few = int(face.sum()) - int(free.sum()) < _FACE_SEEN * int(face.sum())
    if not few or float(skin.float().sum()) < _HAND_SEEN * len(source) ** 2:
        return color, source
    tone = color[skin].median(0).values
    return torch.where(free[..., None], tone, color), torch.where(free, NEARBY, source)


def _places(atlas: Atlas, body: BodyModel, size: int) -> Tensor:
    """(S, S, 4) scaled rest positions of the texels, and a coordinate of their part."""
    texels = atlas.texels(size)
    rest = texels.interpolate(body.v_template, body.faces)
    result = torch.zeros(size, size, 4)
    groups = [
        "head" if "head" in name else "arm" if "arm" in name or "hand" in name else "trunk"
        for name in atlas.charts
    ]
    chart = atlas.chart[texels.face.clamp_min(0)]
    for number, (group, scale) in enumerate(_SCALES.items()):
        mine = torch.tensor([each == group for each in groups])[chart] & texels.covered
        result[..., :3][mine] = rest[mine] * torch.tensor(scale)
        result[..., 3][mine] = number * _OTHER
    return result


def _nearby(places: Tensor, known: Tensor, missing: Tensor, color: Tensor) -> Tensor:
    """(M, 3) means of the nearest known colours, weighted by the inverse of the distance."""
    from scipy.spatial import cKDTree

    tree = cKDTree(places[known].numpy())
    count = min(_NEIGHBORS, int(known.sum()))
    distance, index = tree.query(places[missing].numpy(), k=count)
    distance, index = distance.reshape(-1, count), index.reshape(-1, count)
    weight = 1 / (distance + 0.01)
    weight /= weight.sum(1, keepdims=True)
    mixed = (color[known].numpy()[index] * weight[..., None]).sum(1)
    return torch.from_numpy(mixed.astype(np.float32))
