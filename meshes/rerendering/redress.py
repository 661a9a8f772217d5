"""Exchange of appearance: the garments of one person on the body of another."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..body.atlas import load_atlas
from ..body.load import load_body
from ..body.model import BodyModel
from ..texture.completion import complete_texture
from ..texture.values import UNKNOWN, Texture

__all__ = ["redress"]

# Joints whose surface stays that of the wearer: head and hands.
_OWN = ("neck", "head", "left_wrist", "right_wrist", "left_hand", "right_hand")


@plain_torch()
def redress(wearer: Texture, donor: Texture, body: BodyModel | None = None) -> Texture:
    """Texture of a person in the garments of another.

    Trunk, arms, legs and feet take colours, visibility and the thickness of the clothes from the
    donor; head, hands and shape of the body stay the wearer's. The counterpart on 3D bodies of the
    exchange of appearance and structure in DG-Net (Zheng et al., CVPR 2019), without a network.

    Args:
        wearer: texture of the person whose body, head and hands are kept.
        donor: texture of the person whose garments are taken.
        body: the body model; None for the embedded one.

    Returns:
        The texture, completed; ``source`` flags each texel as it is in the texture it is from.
        Deterministic.

    Raises:
        ValueError: textures of different sizes or bodies, or one without any colour.
    """
    body = load_body() if body is None else body
    for name, texture in (("wearer", wearer), ("donor", donor)):
        if len(texture.offset) != body.num_vertices:
            raise ValueError(
                f"{name} must have {body.num_vertices} offsets; got {len(texture.offset)}: it "
                "belongs to another body"
            )
        if not bool((texture.source != UNKNOWN).any()):
            raise ValueError(f"{name} must have colours; all its texels are unknown")
    if wearer.size != donor.size:
        raise ValueError(f"donor must have {wearer.size} texels a side; got {donor.size}")
    wearer, donor = complete_texture(wearer, body), complete_texture(donor, body)
    texels, vertices = _garments(body, wearer.size)
    return replace(
        wearer,
        color=torch.where(texels[..., None], donor.color, wearer.color),
        visibility=torch.where(texels, donor.visibility, wearer.visibility),
        source=torch.where(texels, donor.source, wearer.source),
        offset=torch.where(vertices, donor.offset, wearer.offset),
    )


@lru_cache(maxsize=2)
def _garments(body: BodyModel, size: int) -> tuple[Tensor, Tensor]:
    """(S, S) bool texels and (V,) bool vertices of trunk, arms, legs and feet."""
    own = torch.tensor([body.joint(name) for name in _OWN])
    vertices = ~torch.isin(body.part, own)
    texels = load_atlas(body).texels(size)
    # The vertex with the largest weight decides, as for the part of a rendered pixel.
    corners = body.faces[texels.face.clamp_min(0)]
    largest = texels.barycentric.argmax(-1, keepdim=True)
    chosen = vertices[corners.gather(-1, largest)[..., 0]]
    return chosen & texels.covered, vertices
