"""Names of the models in the package, for checks before heavy packages are imported."""

from __future__ import annotations

__all__ = ["CLOUD_MODEL", "DEFAULT_MODEL", "FAST_MODEL", "IMAGENET_CELLS", "MODEL_NAMES"]

#: Name of the default model: dense local features of images; for point clouds that of
#: `CLOUD_MODEL`.
DEFAULT_MODEL = "default"
#: Name of the default model with a smaller input.
FAST_MODEL = "fast"
#: Name of the model of point clouds, OG-Net-Small.
CLOUD_MODEL = "cloud"
#: Name of the ImageNet features without training, see
#: `og_reid.inference.imagenet_cells.load_imagenet_cells`.
IMAGENET_CELLS = "imagenet-cells"
#: All names, for `og_reid.load_model`.
MODEL_NAMES = (DEFAULT_MODEL, FAST_MODEL, CLOUD_MODEL, IMAGENET_CELLS)
