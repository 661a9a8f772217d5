"""Offset of a person's surface from the bare body, from the outline of a mask.

Clothes and hair widen the outline of a body. At vertices on the outline the way along the normal to
the border of the mask is measured; between them the offset is smooth over the surface.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..body.model import BodyModel
from ..color import BodyView
from ..fitting.fit import BodyFit
from ..rasterizer import vertex_normals

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["offset_vertices", "outline_offsets"]

_STEPS = tuple(0.01 * step for step in range(-2, 11))  # metres from the bare body
_RANGE = (-0.015, 0.09)  # metres: beyond is no cloth, but a bag or another person
# Most metres on parts that wear little, and on which bags hang.
_MOST = {"hand": 0.01, "wrist": 0.02, "foot": 0.02, "ankle": 0.035, "head": 0.05, "elbow": 0.05,
         "knee": 0.07}  # fmt: skip
_SIDEWAYS = 0.4  # most |z| of the normal of a vertex on the outline
_CLEAR = 0.025  # metres beyond which the body itself is another limb
_OWN_WEIGHT, _SHARED_WEIGHT = 2.0, 0.3
_STIFFNESS, _REST = 1.0, 2e-3  # of the surface, and towards the bare body
_ITERATIONS = 80


def outline_offsets(fit: BodyFit, mask: Tensor, view: BodyView) -> Tensor:
    """Offsets of the vertices that carry the body's outline to that of a mask.

    Args:
        fit: the body, B = 1.
        mask: (H, W) in [0, 1], the person's own pixels.
        view: projection of the bare body into the image.

    Returns:
        (V,) metres along the normals, in [-0.015, 0.09]; zeros for a mask without the body.
    """
    normals = view.normals
    ends = torch.tensor(_STEPS)
    height, width = mask.shape
    inside, covered = [], []
    for step in ends:
        place = fit.camera.project(fit.vertices + step * normals)[0]
        x, y = place[:, 0], place[:, 1]
        within = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        column, row = x.long().clamp(0, width - 1), y.long().clamp(0, height - 1)
        inside.append(within & (mask[row, column] >= 0.5))
        covered.append(view.covers(x, y)[0])
    on_person, on_body = torch.stack(inside), torch.stack(covered)
    beyond = ends > _CLEAR
    first = int(beyond.nonzero()[0])
    outline = (normals[:, 2].abs() < _SIDEWAYS) & ~on_body[first] & on_person[0]
    # Unbroken run on the mask, ended by the border or by another limb.
    limb = on_body & beyond[:, None]
    run = (on_person & ~limb).long().cumprod(0).sum(0)
    last = ends[(run - 1).clamp_min(0)]
    stopped = limb[run.clamp_max(len(ends) - 1), torch.arange(len(run))] & (run < len(ends))
    value = torch.where(stopped, last / 2, last).clamp(*_RANGE)
    weight = torch.where(stopped | (run == len(ends)), _SHARED_WEIGHT, _OWN_WEIGHT)
    smooth = _smooth(fit.body, torch.where(outline, weight, 0.0), value)
    return smooth.clamp_min(_RANGE[0]).minimum(_limits(fit.body))


def _limits(body: BodyModel) -> Tensor:
    """(V,) metres, blended over the joints as the skin is."""
    most = [_MOST.get(name.rpartition("_")[2], _RANGE[1]) for name in body.joint_names]
    return body.skin_weights @ torch.tensor(most)


def offset_vertices(body: BodyModel, betas: Tensor, offset: Tensor) -> Tensor:
    """Rest vertices (1, V, 3) of betas (1, K), moved along their normals by offset (V,) metres."""
    shaped = body.shaped(betas)
    return shaped + offset[None, :, None] * vertex_normals(shaped, body.faces)


@lru_cache(maxsize=2)
def _laplacian(body: BodyModel) -> csr_matrix:
    from scipy.sparse import csr_matrix, diags

    faces, count = body.faces.numpy(), body.num_vertices
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    links = csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))
    return diags(np.asarray(links.sum(1))[:, 0]).tocsr() - links


def _smooth(body: BodyModel, weight: Tensor, value: Tensor) -> Tensor:
    """Smooth values (V,) near the weighted ones: conjugate gradients, in float64."""
    if not bool((weight > 0).any()):
        return torch.zeros_like(value)
    from scipy.sparse import diags
    from scipy.sparse.linalg import cg

    laplacian = _laplacian(body)
    heavy = weight.double().numpy()
    matrix = _STIFFNESS * laplacian + diags(heavy + _REST)
    scaled = diags(1 / matrix.diagonal())
    found, _ = cg(matrix, heavy * value.double().numpy(), maxiter=_ITERATIONS, M=scaled)
    return torch.from_numpy(found).to(value)
