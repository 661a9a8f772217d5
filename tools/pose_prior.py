"""Learn the prior of poses, ``meshes/data/pose_prior.npz``, from the motions of the default world.

    python tools/pose_prior.py

A Gaussian over the rotation vectors of the 23 joints below the root, relative to their mean; every
pose counts with its mirror image. What the world lacks (its spines bend little, its wrists never
turn) is added to the variance of every joint. The held-out world draws motions by the same rules
as the default one: errors on it are those of poses like the prior's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshes.body.load import load_body
from meshes.body.model import SMPL_JOINTS
from meshes.fitting.pose_prior import FILE, mirrored
from meshes.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from meshes.world import draw_identity
from meshes.world.people.poses import draw_motion
from meshes.world.rng import Rng

__all__ = ["draw_poses", "fit_prior"]

_IDENTITIES = 300
_MOTIONS = 3000
# Radians, added to the spread of each joint.
_FLOOR = 0.10
_FLOORS = {"shoulder": 0.25, "elbow": 0.25, "knee": 0.12, "hip": 0.12, "wrist": 0.05, "hand": 0.05,
           "foot": 0.05, "collar": 0.08, "head": 0.15}  # fmt: skip


def draw_poses(motions: int, seed: int) -> Tensor:
    """(motions, 24, 3, 3) poses of the default world, relative to the parents."""
    body = load_body()
    people = [draw_identity(number) for number in range(_IDENTITIES)]
    rests = body.rest_joints(torch.stack([person.betas for person in people]))
    found = []
    for number in range(motions):
        person = number % len(people)
        rng = Rng.seeded("pose prior", seed, number)
        found.append(draw_motion(rng, people[person], rests[person]).rotations)
    return torch.stack(found)


def fit_prior(poses: Tensor) -> tuple[Tensor, Tensor]:
    """Mean rotation vectors (24, 3) and root of the inverse covariance (69, 69) of a prior.

    Args:
        poses: (N, 24, 3, 3) relative to the parents.
    """
    both = torch.cat([poses, axis_angle_to_matrix(mirrored(matrix_to_axis_angle(poses)))]).double()
    left, _, right = torch.linalg.svd(both.mean(0))
    mean = matrix_to_axis_angle(left @ right)
    mean[0] = 0
    vectors = matrix_to_axis_angle((left @ right).transpose(-1, -2) @ both)[:, 1:].flatten(1)
    floor = torch.tensor([_FLOORS.get(n.rpartition("_")[2], _FLOOR) for n in SMPL_JOINTS[1:]])
    spread = vectors.T @ vectors / len(vectors)
    spread += torch.diag_embed(floor.double().repeat_interleave(3) ** 2)
    return mean, torch.linalg.cholesky(torch.linalg.inv(spread))


def main() -> None:
    """Draw poses, fit the prior and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--motions", type=int, default=_MOTIONS)
    parser.add_argument("--out", type=Path, default=FILE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    mean, root = fit_prior(draw_poses(args.motions, 0))
    # Float16 is exact to 0.05 % here.
    np.savez_compressed(args.out, mean=mean.float().numpy(), root=root.numpy().astype(np.float16))


if __name__ == "__main__":
    main()
