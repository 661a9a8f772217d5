"""Calibration of a model's similarity on a labelled world, stored with the weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .fields import as_path
from .input_files import check_model, check_output
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    from torch import Tensor

    from ..evaluation.reliability import Reliability
    from ..inference.dense_encoder import DenseEncoder
    from ..retrieval.calibration import Calibration

__all__ = ["CalibrateSpec", "Calibrated", "calibrate"]


@dataclass(frozen=True)
class CalibrateSpec:
    """Model, images of identities that it was not trained on, and the file of the result.

    Attributes:
        model: File of a dense model, or the folder of its run.
        data: Folder of `meshes.world.labelled.write_labelled_world`.
        out: File of the calibrated model, .safetensors; may be ``model`` itself.
        images: Largest number of images that are compared, spread over the identities.
        half: Weights in half precision.

    Raises:
        ValueError: A value is out of its range.
    """

    model: Path
    data: Path
    out: Path
    images: int = 800
    half: bool = True

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        for name in ("model", "data", "out"):
            as_path(self, name)
        if self.images < 8:
            raise ValueError(f"images must be at least 8; got {self.images}")


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Outcome of `calibrate`.

    Attributes:
        calibration: Coefficients, from pairs of all identities.
        measured: Reliability on the second half of the identities, of coefficients from the first.
        pairs: Number of pairs of one identity, and of two.
    """

    calibration: Calibration
    measured: Reliability
    pairs: tuple[int, int]


def calibrate(spec: CalibrateSpec, progress: StageProgress | None = None) -> Calibrated:
    """Fits the calibration of a model on pairs of different cameras, and writes the model with it.

    Args:
        spec: Model, images, output.
        progress: Called with ("describing", images done, images in all).

    Raises:
        ValueError: The model has no local features, or the images have too few pairs.
    """
    check_model(spec.model)
    check_output(spec.out)

    import torch

    from ..api import describe
    from ..evaluation.reliability import reliability
    from ..inference.dense_encoder import DenseEncoder
    from ..inference.pretrained import load_model
    from ..retrieval.calibration import fit_calibration
    from ..retrieval.evidence import shared_evidence
    from ..retrieval.late_interaction import local_similarity

    model = load_model(spec.model)
    if not isinstance(model, DenseEncoder):
        raise ValueError(f"{spec.model} has no local features: give a dense model")
    images, identities, cameras = _read(spec.data, spec.images)
    found = describe(images, model, progress=stage_progress(progress, "describing"))
    assert found.local is not None
    scores, _ = local_similarity(found.local, found.local, model.preprocessing.interaction)
    shared = shared_evidence(found.local, found.local)
    same = identities[:, None] == identities
    # Each pair once; images of one camera have its light and background in common.
    used = torch.ones_like(same).triu(1) & (cameras[:, None] != cameras)
    middle = identities.unique()[len(identities.unique()) // 2]
    first = (identities[:, None] < middle) & (identities < middle)
    second = (identities[:, None] >= middle) & (identities >= middle)
    half = fit_calibration(scores[used & first], shared[used & first], same[used & first])
    judged = used & second
    measured = reliability(
        half.probability(scores[judged], shared[judged]), same[judged], prior=0.5
    )
    calibration = fit_calibration(scores[used], shared[used], same[used])
    calibrated(model, calibration).save(spec.out, half=spec.half)
    genuine = int(same[used].sum())
    return Calibrated(calibration, measured, (genuine, int(used.sum()) - genuine))


def calibrated(model: DenseEncoder, calibration: Calibration) -> DenseEncoder:
    """The model with another calibration."""
    return replace(model, preprocessing=replace(model.preprocessing, calibration=calibration))


def _read(folder: Path, most: int) -> tuple[list[object], Tensor, Tensor]:
    """Images, identities and cameras, with all views of as many identities as fit."""
    import numpy as np
    import torch

    from meshes.world.labelled import labelled_shards, read_labelled_shard

    images: list[object] = []
    identities, cameras = [], []
    shards = labelled_shards(folder)
    if not shards:
        raise ValueError(f"{folder} holds no labelled images: give a folder of a labelled world")
    for path in shards:
        shard = read_labelled_shard(path)
        images += list(shard.image)
        identities.append(shard.identity)
        cameras.append(shard.camera)
    numbers = torch.from_numpy(np.concatenate(identities))
    places = torch.from_numpy(np.concatenate(cameras))
    chosen = torch.arange(len(numbers))
    if len(numbers) > most:
        views = max(1, len(numbers) // len(numbers.unique()))
        kept = numbers.unique()[:: max(1, -(-len(numbers.unique()) * views // most))]
        chosen = torch.isin(numbers, kept).nonzero()[:, 0]
    return [images[row] for row in chosen.tolist()], numbers[chosen], places[chosen]
