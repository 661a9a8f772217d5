"""Images of the synthetic world with a known number of people."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import torch

from meshes.world import Scene, draw_camera, draw_identity, render, sample_scene
from meshes.world.people.clothing import world_body
from meshes.world.people.figure import pose_figure
from meshes.world.people.poses import draw_motion
from meshes.world.rng import Rng
from meshes.world.scenery.occluders import translated

__all__ = ["one_person", "two_people"]


@lru_cache(maxsize=64)
def one_person(seed: int) -> np.ndarray:
    """(256, 128, 3) image of a person without occlusion."""
    generator = torch.Generator().manual_seed(seed)
    return render(_scene(seed, generator)).image.numpy()


@lru_cache(maxsize=64)
def two_people(seed: int, apart: float = 1.2, behind: float = 0.3) -> np.ndarray:
    """(256, 320, 3) image of two people side by side, the second on the right.

    Args:
        seed: seed of the random numbers.
        apart: lateral distance, metres.
        behind: additional distance of the second person from the camera, metres.
    """
    generator = torch.Generator().manual_seed(seed)
    scene = _scene(seed, generator)
    rng = Rng(torch.Generator().manual_seed(seed + 1))
    identity = draw_identity(1000 + seed)
    joints = world_body().rest_joints(identity.betas[None])[0]
    second = pose_figure(
        identity, draw_motion(rng, identity, joints), scene.figure.heading, (0.0, 0.0)
    )
    away = torch.tensor([float(scene.figure.shift[0]) + apart, 0.0, -behind])
    view = dataclasses.replace(scene.view, width=320)
    pieces = tuple(translated(second.pieces, away))
    return render(dataclasses.replace(scene, behind=pieces, view=view)).image.numpy()


def _scene(seed: int, generator: torch.Generator) -> Scene:
    scene = sample_scene(seed, draw_camera(seed % 3, seed % 5), generator)
    return dataclasses.replace(scene, behind=())
