"""Videos of the synthetic world for `benchmarks/follow.py`: people who walk behind things.

People cross the view of a fixed camera, behind a wall that hides them for a while and behind things
that hide them in part; some wait or turn round behind the wall. The same people cross a second
camera in other light. Boxes are those of the visible pixels, with the noise of a detector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from meshes.world import draw_camera, draw_identity, render, scene_truth
from meshes.world.imaging.camera import Camera, View, draw_light, take_view
from meshes.world.people.clothing import world_body
from meshes.world.people.figure import Figure, pose_figure
from meshes.world.people.identity import Identity
from meshes.world.people.poses import draw_motion
from meshes.world.people.skin_textures import PlainPaint
from meshes.world.rng import Rng
from meshes.world.scene import Scene
from meshes.world.scenery.backdrop import draw_backdrop
from meshes.world.scenery.occluders import OCCLUDER_KINDS, translated
from meshes.world.surfaces.pieces import MeshPart, solid
from meshes.world.surfaces.primitives import box
from og_reid.data import BoxTracks

SIZE = (288, 512)
RATE = 6.0
_ZOOM = 2.0
_SPEED = (1.0, 1.5)  # metres a second
_THINGS = ("car", "shrub", "furniture", "board")
_LEAST = 0.12  # visible fraction of a person that a detector finds
_NOISE = 0.03  # deviation of the sides of boxes, fraction of their size


@dataclass(frozen=True)
class Walker:
    """A person who crosses the view on a straight line, and may wait or turn behind the wall."""

    identity: Identity
    seed: int
    depth: float
    side: int
    speed: float
    start: float  # seconds before the wall's middle is reached
    wait: float
    turns: bool

    def figure(self, time: float) -> Figure:
        """The person at a time in seconds."""
        way, side = (time - self.start) * self.speed, self.side
        if time > self.start:
            way = max(0.0, (time - self.start - self.wait) * self.speed)
            side = -self.side if self.turns else self.side
            x = side * way
        else:
            x = side * way
        stands = self.start < time < self.start + self.wait
        body = world_body().rest_joints(self.identity.betas[None])[0]
        rng = Rng.seeded("benchmark gait", self.seed)
        motion = draw_motion(rng, self.identity, body, stand=stands, phase=0.9 * time)
        return pose_figure(self.identity, motion, side * math.pi / 2, (x, self.depth))


class Video(Sequence[np.ndarray]):
    """Frames of one camera, rendered when they are asked for, and their boxes.

    Args:
        group: Number of the people, the same in all of their cameras.
        index: Number of the camera, from 1.
        people: Number of people.
        frames: Number of frames.
    """

    def __init__(self, group: int, index: int, people: int = 4, frames: int = 60) -> None:
        self.group, self.index, self.frames = group, index, frames
        rng = self._rng = Rng.seeded("benchmark follow", group, index)
        camera = draw_camera(group, index)
        self.camera: Camera = replace(camera, sharpness=max(0.7, camera.sharpness))
        distance = max(7.5, camera.distance)
        self.camera = replace(
            self.camera, pitch=math.atan2(camera.height - 1.0, distance), distance=distance
        )
        whole = take_view(self.camera, distance, SIZE)
        focal = (whole.focal[0] * _ZOOM * distance / 8, whole.focal[1] * _ZOOM * distance / 8)
        self.view: View = replace(whole, focal=focal)
        self.wide = rng.uniform(0.9, 2.4)
        self.walkers = [
            Walker(
                draw_identity(70_000 + 10 * group + number),
                1000 * group + 10 * index + number,
                rng.uniform(-1.8, 0.2),
                1 if rng.flag(0.5) else -1,
                rng.uniform(*_SPEED),
                rng.uniform(1.5, frames / RATE - 3.5),
                rng.uniform(0, 2.5) if rng.flag(0.6) else 0.0,
                rng.flag(0.35),
            )
            for number in range(people)
        ]
        self.light = draw_light(self.camera, rng)
        self.backdrop = draw_backdrop(rng)
        self.things = self._things(rng)

    def _things(self, rng: Rng) -> tuple[MeshPart, ...]:
        tint = rng.around((0.55, 0.5, 0.46), 0.12)
        wall = solid(box((0, 1.2, 1.1), (self.wide, 2.4, 0.15)), PlainPaint(tint), smooth=False)
        parts = [wall]
        for side in (-1, 1):
            kind = OCCLUDER_KINDS[_THINGS[rng.integer(0, len(_THINGS))]]
            assert kind.build is not None
            place = side * (self.wide / 2 + rng.uniform(0.9, 1.7))
            parts += translated(kind.build(rng), torch.tensor([place, 0.0, 1.2]))
        return tuple(parts)

    def __len__(self) -> int:
        return self.frames

    def scene(self, number: int) -> tuple[Scene, list[Figure]]:
        """Scene of a frame from 0, and the figures of the people in it."""
        figures = [each.figure(number / RATE) for each in self.walkers]
        others = tuple(part for each in figures[1:] for part in each.pieces)
        return Scene(
            figure=figures[0], camera=self.camera, view=self.view, light=self.light,
            backdrop=self.backdrop, front=(*self.things, *others), behind=(), occluder="none",
            inside=1.0, seed=97 * self.group + number,
        ), figures  # fmt: skip

    def __getitem__(self, number: int) -> np.ndarray:
        if number not in self._rendered:
            self._rendered[number] = render(self.scene(number)[0]).image.numpy()
        return self._rendered[number]

    @cached_property
    def _rendered(self) -> dict[int, np.ndarray]:
        return {}

    @cached_property
    def truth(self) -> tuple[BoxTracks, np.ndarray]:
        """Boxes of visible people with their identities, and the visible fraction of each."""
        rows, seen = [], []
        for number in range(self.frames):
            scene, figures = self.scene(number)
            maps = scene_truth(scene, ("instance", "people", "depth"))
            assert maps.instance is not None
            assert maps.people is not None
            assert maps.depth is not None
            masks = {1: (scene.figure.identity.seed, maps.depth.isfinite())}
            masks |= {each.number: (each.identity, each.amodal) for each in maps.people}
            known = {each.identity.seed: place for place, each in enumerate(figures)}
            for value, (identity, whole) in masks.items():
                shown = maps.instance == value
                fraction = float(shown.sum()) / max(1.0, float(whole.sum()))
                if fraction < _LEAST or int(shown.sum()) < 60:
                    continue
                low, high = shown.nonzero().amin(0), shown.nonzero().amax(0) + 1
                rows.append([number + 1, 10 * self.group + known[identity],
                             *low.flip(0).tolist(), *high.flip(0).tolist()])  # fmt: skip
                seen.append(fraction)
        table = np.array(rows, np.float64).reshape(-1, 6)
        whole_numbers = table[:, :2].astype(np.int64)
        return BoxTracks(whole_numbers[:, 0], whole_numbers[:, 1], table[:, 2:]), np.array(seen)

    @cached_property
    def detections(self) -> BoxTracks:
        """The boxes with a detector's noise, without identities."""
        truth, _ = self.truth
        draw = np.random.default_rng((self.group, self.index))
        size = truth.boxes[:, 2:] - truth.boxes[:, :2]
        noise = np.clip(draw.normal(0, _NOISE, truth.boxes.shape), -0.1, 0.1)
        boxes = truth.boxes + noise * np.concatenate([size, size], 1)
        return BoxTracks(truth.frames, np.full(len(truth), -1), boxes)
