"""Truth about bodies and cameras of labelled images, and keypoints estimated on them.

Shards of labelled images (`benchmarks/heldout.py`) hold pixels and keypoints. Everything else about
an image follows from its numbers: the scene is drawn again, without rendering.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshes.fitting.fit import BodyFit
from meshes.world.labelled import (
    LabelledImages,
    LabelledPlan,
    labelled_scene,
    labelled_shards,
    read_labelled_shard,
)
from meshes.world.rendering import true_points
from pose import COCO_17_FEET, Keypoints, MediapipePose, Pose
from pose.files.npz import read_npz_arrays

__all__ = ["FitSet", "load", "make", "near"]

_NO_PLAN = ("kind", "version", "groups")  # entries of a manifest beside the plan's
_EXACT = 0.5  # pixels: more means that shards were drawn by other rules


@dataclass(frozen=True, eq=False)
class FitSet:
    """Images with truth and estimates, one row an image.

    Attributes:
        image: (N, H, W, 3) uint8 RGB.
        mask: (N, H, W) bool, visible pixels of the person.
        keypoints: (N, 21, 3), pixels and visibility, of ``COCO_17_FEET``.
        joints: (N, 24, 3) metres, in the camera's frame.
        pixels: (N, 24, 2), the joints in the image.
        rotations: (N, 24, 3, 3) relative to the parents.
        betas: (N, 10).
        box: (N, 4) left, top, right, bottom in pixels of the whole bare body, also where it is
            occluded or outside the image.
        pitch: (N,) radians.
        yaw: (N,) radians.
        identity: (N,) index of the identity in the labelled set.
        camera: (N,) number of the camera.
        hidden: (N,) true hidden fraction of the person.
        occluder: (N,) kind of occlusion, or "none".
        estimate: (N, 21, 7) estimated x, y (pixels), score, visibility, xyz (metres).
        estimated_mask: (N, H, W) uint8, the estimator's mask in 255ths.
    """

    image: np.ndarray
    mask: np.ndarray
    keypoints: np.ndarray
    joints: np.ndarray
    pixels: np.ndarray
    rotations: np.ndarray
    betas: np.ndarray
    box: np.ndarray
    pitch: np.ndarray
    yaw: np.ndarray
    identity: np.ndarray
    camera: np.ndarray
    hidden: np.ndarray
    occluder: np.ndarray
    estimate: np.ndarray
    estimated_mask: np.ndarray

    def __len__(self) -> int:
        return len(self.image)

    def estimated(self, row: int) -> Pose:
        """Pose by the default estimator."""
        xy, score, visibility, xyz = np.split(self.estimate[row], [2, 3, 4], axis=1)
        keypoints = Keypoints(
            torch.from_numpy(xy),
            torch.from_numpy(score[:, 0]),
            torch.from_numpy(visibility[:, 0]),
            COCO_17_FEET,
            torch.from_numpy(xyz),
        )
        mask = torch.from_numpy(self.estimated_mask[row].astype(np.float32) / 255)
        return Pose(keypoints, mask)

    def true(self, row: int) -> Pose:
        """Pose with the true positions of the keypoints that the image shows."""
        xy = torch.from_numpy(self.keypoints[row, :, :2])
        visibility = torch.from_numpy(self.keypoints[row, :, 2])
        score = (visibility > 0).float()
        return Pose(Keypoints(xy, score, visibility, COCO_17_FEET))


def make(folder: Path, identities: range, path: Path) -> None:
    """Keep truth and estimates of some identities of a labelled set.

    Args:
        folder: labelled set.
        identities: indices of identities in the set.
        path: file to write, ``.npz``.

    Raises:
        ValueError: the folder was drawn by other rules than those of this version.
    """
    manifest = json.loads((folder / "world.json").read_text())
    plan = LabelledPlan(**{k: v for k, v in manifest.items() if k not in _NO_PLAN})
    estimator = MediapipePose()
    rows: list[dict[str, np.ndarray]] = []
    for images in _shards(folder, identities):
        start = len(rows)
        for number in range(len(images)):
            index = int(images.identity[number])
            if index in identities:
                view = number - int(np.flatnonzero(images.identity == index)[0])
                rows.append(_row(plan, images, number, view, estimator))
        print(f"{len(rows)} images (+{len(rows) - start})", file=sys.stderr, flush=True)
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    np.savez(path, allow_pickle=False, **arrays)


def load(path: Path) -> FitSet:
    """A set that `make` wrote."""
    names = [field.name for field in fields(FitSet)]
    return FitSet(**read_npz_arrays(path, names, content="numbers or text"))


def near(data: FitSet, row: int, fit: BodyFit, distance: float) -> Tensor:
    """(24,) bool: joints of a fit, B = 1, within a distance in true body heights of their place."""
    pixels = fit.camera.project(fit.joints)[0, :, :2]
    away = (pixels - torch.from_numpy(data.pixels[row])).norm(dim=-1)
    return away < distance * float(data.box[row, 3] - data.box[row, 1])


def _shards(folder: Path, identities: range) -> Iterable[LabelledImages]:
    for path in labelled_shards(folder):
        first = int(path.stem.rpartition("_")[2])
        if any(first <= index < first + 20 for index in identities):
            yield read_labelled_shard(path)


def _row(
    plan: LabelledPlan, images: LabelledImages, number: int, view: int, estimator: MediapipePose
) -> dict[str, np.ndarray]:
    image = images.image[number]
    _, scene = labelled_scene(plan, int(images.identity[number]), view)
    figure, crop = scene.figure, scene.view
    points = crop.project(true_points(figure))[:, :2].numpy()
    residual = float(np.abs(points - images.keypoints[number]).max())
    if residual > _EXACT:
        raise ValueError(
            f"folder must be drawn by this version's rules; keypoints of image {number} are "
            f"{residual:.1f} pixels off: make it again"
        )
    rotations = figure.rotations.clone()
    rotations[0] = crop.turn @ rotations[0]
    place = crop.project(figure.vertices)[:, :2]
    pose = estimator(image)
    found, mask = pose.keypoints, pose.mask
    assert found.xyz is not None
    assert mask is not None
    values = [found.xy, found.score[:, None], found.visibility[:, None], found.xyz]
    visible = images.keypoint_visibility[number][:, None]
    return {
        "image": image,
        "mask": images.mask[number],
        "keypoints": np.concatenate([images.keypoints[number], visible], 1),
        "joints": crop.to_camera(figure.joints).numpy(),
        "pixels": crop.project(figure.joints)[:, :2].numpy(),
        "rotations": rotations.numpy(),
        "betas": figure.identity.betas.numpy(),
        "box": torch.cat([place.amin(0), place.amax(0)]).numpy(),
        "pitch": np.float32(scene.camera.pitch),
        "yaw": images.yaw[number],
        "identity": images.identity[number],
        "camera": images.camera[number],
        "hidden": 1 - images.visible_fraction[number],
        "occluder": images.occluder[number],
        "estimate": torch.cat(values, 1).numpy(),
        "estimated_mask": (mask * 255).round().to(torch.uint8).numpy(),
    }
