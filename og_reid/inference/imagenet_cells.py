"""Model without training: ImageNet features of the cells that show a person."""

from __future__ import annotations

from importlib.resources import as_file, files

from pose.runtime.defaults import MadeOnce

from ..files.tensors import read_tensors
from ..models.imagenet_cells import ImageNetCells
from ..models.init import SkipInit
from .dense_encoder import DenseEncoder
from .preprocessing import DensePreprocessing

__all__ = ["load_imagenet_cells"]

_MEANS = "weights/imagenet_cells.safetensors"
# Any cell may be the best one, as in the study that the model repeats.
_PREPROCESSING = DensePreprocessing(256, 128, penalty=1.0, background=0.0)


@MadeOnce
def load_imagenet_cells() -> DenseEncoder:
    """EfficientNet-Lite0 with its ImageNet weights, compared cell by cell; made once and shared.

    Cells are weighted by the pose estimator's person mask, or by given masks. Nothing is trained:
    the means that centre the features are those of images of the synthetic world
    (``tools/imagenet_means.py``).

    Raises:
        ImportError: The package of the weights is missing.
        ValueError: Its file is another one, or the means are damaged.
    """
    with SkipInit():
        network = ImageNetCells()
    network.load_imagenet()
    with as_file(files("og_reid").joinpath(_MEANS)) as path:
        network.mean.copy_(read_tensors(path)[0]["mean"])
    return DenseEncoder(network.eval(), _PREPROCESSING)
