"""UV atlas of the embedded body: places of its surface in a square texture.

20 charts (head, torso, arms and legs: front and back; hands: back and palm; feet: upper and sole).
Charts of the middle lie on the axis u = 0.5, those of the body's left at u > 0.5, mirrored to those
of its right: turning a texture left to right mirrors the body, to some millimetres.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files

import numpy as np
import torch
from torch import Tensor

from pose.runtime.defaults import MadeOnce, plain_torch

from ..rasterizer import Raster, rasterize
from .model import BodyModel

__all__ = ["Atlas", "Texels", "load_atlas"]


@dataclass(frozen=True, eq=False)
class Texels:
    """Surface point at the centre of each texel of a square texture.

    Attributes:
        face: (S, S) int64, ``face[r, c] = f`` means that the centre of texel (row r, column c), at
            u = (c + 0.5) / S and v = (r + 0.5) / S, lies on face f; -1 between the charts.
        barycentric: (S, S, 3) weights of the face's corners there; zero between the charts.
    """

    face: Tensor
    barycentric: Tensor

    @property
    def covered(self) -> Tensor:
        """(S, S) bool, texels on the body."""
        return self.face >= 0

    def interpolate(self, values: Tensor, faces: Tensor) -> Tensor:
        """(S, S, C) values at the texels from vertex values (V, C) and faces (F, 3) of the body."""
        raster = Raster(self.face[None], self.face[None].float(), self.barycentric[None])
        return raster.interpolate(values, faces)[0]


@dataclass(frozen=True, eq=False)
class Atlas:
    """UV coordinates of a body's surface. A vertex on a seam has several places.

    Attributes:
        uv: (N, 2) places in [0, 1]: u to the right, v down, as columns and rows of an image.
        corners: (F, 3) int64, ``corners[f, k] = n`` means corner k of face f lies at ``uv[n]``.
        vertex: (N,) int64, vertex of the body at each place.
        chart: (F,) int64, chart of each face, an index into ``charts``.
        charts: names of the charts.
    """

    uv: Tensor
    corners: Tensor
    vertex: Tensor
    chart: Tensor
    charts: tuple[str, ...]

    @property
    def face_uv(self) -> Tensor:
        """(F, 3, 2) u, v of each corner of each face."""
        return self.uv[self.corners]

    def uv_at(self, face: Tensor, barycentric: Tensor) -> Tensor:
        """Texture coordinates of surface points.

        Args:
            face: (...) int64 face of each point; -1 for none.
            barycentric: (..., 3) weights of the corners of the face.

        Returns:
            (..., 2) u, v in [0, 1]; NaN where there is no face.
        """
        if barycentric.shape != (*face.shape, 3):
            raise ValueError(
                f"barycentric must be {(*face.shape, 3)} for face {tuple(face.shape)}; got "
                f"{tuple(barycentric.shape)}"
            )
        if face.numel() and int(face.max()) >= len(self.corners):
            raise ValueError(
                f"face must hold indices below {len(self.corners)}; got {int(face.max())}"
            )
        places = self.uv[self.corners[face.clamp_min(0)]]
        mixed = (places * barycentric[..., None].to(places)).sum(-2)
        return torch.where((face >= 0)[..., None], mixed, torch.nan)

    @plain_torch()
    def texels(self, size: int = 256) -> Texels:
        """Surface points of the texels of a texture of ``size`` x ``size``; cached for some sizes.

        Raises:
            ValueError: ``size`` is below 1.
        """
        if size < 1:
            raise ValueError(f"size must be at least 1; got {size}")
        return _texels(self, size)


@lru_cache(maxsize=4)
def _texels(atlas: Atlas, size: int) -> Texels:
    flat = torch.cat([atlas.uv * size, torch.zeros(len(atlas.uv), 1)], 1)
    raster = rasterize(flat[None], atlas.corners, size, size)
    return Texels(raster.face[0], raster.barycentric[0])


@plain_torch()
def load_atlas(body: BodyModel) -> Atlas:
    """UV atlas of a body.

    Raises:
        ValueError: the body has other faces than the embedded one, for which alone there is an
            atlas.
    """
    atlas, faces = _embedded_atlas()
    digest = hashlib.sha256(body.faces.cpu().numpy().astype("<i8").tobytes()).hexdigest()
    if digest != faces:
        raise ValueError(
            f"body must be the embedded one, whose atlas is known; got one of "
            f"{body.num_vertices} vertices and {len(body.faces)} faces: use load_body()"
        )
    return atlas


@MadeOnce
def _embedded_atlas() -> tuple[Atlas, str]:
    """The atlas, and the SHA-256 of the faces that it belongs to (fields: tools/build_atlas.py)."""
    resource = files("meshes").joinpath("data", "og_body_atlas.npz")
    with as_file(resource) as path, np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    # The cached atlas outlives the modes of this call.
    with torch.inference_mode(False), torch.device("cpu"):
        atlas = Atlas(
            uv=torch.from_numpy(arrays["uv"].astype(np.float32) / np.float32(65535)),
            corners=torch.from_numpy(arrays["corners"].astype(np.int64)),
            vertex=torch.from_numpy(arrays["vertex"].astype(np.int64)),
            chart=torch.from_numpy(arrays["chart"].astype(np.int64)),
            charts=tuple(json.loads(str(arrays["charts"]))),
        )
    return atlas, str(arrays["faces"])
