"""Triangle rasteriser: nearest face of each pixel; exact and batched.

One primitive serves visibility, colouring, silhouettes, part maps and the renderer of the
synthetic world, without a graphics library. On a CPU a native library runs, on other devices its
twin in plain torch; they give the same bits, for any order of the faces and number of threads.
"""

from .draw import coverage, rasterize, rasterize_layers
from .native import raster_info
from .raster import Raster
from .twin import rasterize_torch
from .vertices import vertex_normals, visible_in, visible_in_torch

__all__ = [
    "Raster",
    "coverage",
    "raster_info",
    "rasterize",
    "rasterize_layers",
    "rasterize_torch",
    "vertex_normals",
    "visible_in",
    "visible_in_torch",
]
