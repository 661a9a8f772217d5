"""Prior of poses: a Gaussian over joint rotations, learned from the world's motions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pose.files.npz import read_npz_arrays
from pose.files.reading import reading
from pose.runtime.defaults import MadeOnce

from ..body.model import SMPL_JOINTS
from ..rotation import axis_angle_to_matrix

__all__ = ["FILE", "PosePrior", "load_pose_prior", "mirrored"]

#: Where `tools/pose_prior.py` writes the prior.
FILE = Path(__file__).parents[1] / "data" / "pose_prior.npz"

_MIRROR = [
    SMPL_JOINTS.index(name.replace("left", "#").replace("right", "left").replace("#", "right"))
    for name in SMPL_JOINTS
]


@dataclass(frozen=True, eq=False)
class PosePrior:
    """Gaussian over the rotations of the 23 joints below the root, equal to its mirror image.

    A pose is the rotation vectors ``log(mean^T R)`` of its joints, 69 numbers with mean 0. With one
    component for all phases of a stride, joints without evidence stand between them. A mixture of
    12 phases had errors larger by a fifth: it decides for one where nothing is seen.

    Attributes:
        mean: (24, 3, 3) rotations relative to the parents; the root's is the identity.
        root: (69, 69), ``root @ root^T`` is the inverse covariance, per square radian.
    """

    mean: Tensor
    root: Tensor

    def __post_init__(self) -> None:
        """Check the shapes."""
        size = 3 * (len(SMPL_JOINTS) - 1)
        for name, shape in {"mean": (len(SMPL_JOINTS), 3, 3), "root": (size, size)}.items():
            value = getattr(self, name)
            if tuple(value.shape) != shape or not bool(value.isfinite().all()):
                raise ValueError(f"{name} must be {shape} and finite; got {tuple(value.shape)}")


def mirrored(vectors: Tensor) -> Tensor:
    """Rotation vectors (..., 24, 3) of the mirror image of a pose."""
    return vectors[..., _MIRROR, :] * vectors.new_tensor([1.0, -1.0, -1.0])


@MadeOnce
def load_pose_prior() -> PosePrior:
    """The prior of the package, float64 on the CPU, made once."""
    return _read()


def _read() -> PosePrior:
    with reading(FILE, "must be a prior of poses as tools/pose_prior.py writes it"):
        arrays = read_npz_arrays(
            FILE, ("mean", "root"), content="integers or floats", most_numbers=1 << 16
        )
    with torch.inference_mode(False), torch.device("cpu"):
        mean, root = (torch.from_numpy(arrays[name]).double() for name in ("mean", "root"))
        return PosePrior(axis_angle_to_matrix(mean), root)
