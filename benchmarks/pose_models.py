"""Detections and keypoint errors of the pose models on occluded held-out images.

    python benchmarks/pose_models.py FOLDER [--heavy FILE] [--images 60]

FOLDER is a set of benchmarks/heldout.py. Images are occluded ones whose person is half hidden or
less, the first of each identity in turn. Errors are pixels of 256 x 128 images, over people that
both models find; times are processor time, interleaved.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from pose import COCO_17_FEET, MediapipePose


def occluded(folder: Path, count: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Images with their keypoints (21, 2) and keypoint visibilities (21,)."""
    chosen = []
    for path in sorted(folder.glob("identities_*.npz")):
        with np.load(path, allow_pickle=False) as shard:
            hidden = (shard["occluder"] != "none") & (shard["visible_fraction"] >= 0.5)
            _, first = np.unique(shard["identity"][hidden], return_index=True)
            rows = np.flatnonzero(hidden)[first]
            fields = [shard[name][rows] for name in ("image", "keypoints", "keypoint_visibility")]
        chosen += list(zip(*fields, strict=True))
        if len(chosen) >= count:
            break
    return chosen[:count]


def main() -> None:
    """Prints a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--heavy", default="heavy", help="file of the heavy model")
    parser.add_argument("--images", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = occluded(options.folder, options.images)
    models = {"full": MediapipePose(), "heavy": MediapipePose(model=options.heavy)}
    found = {name: [] for name in models}
    seconds = {name: [] for name in models}
    for model in models.values():  # loads it
        model(images[0][0])
    for image, _, _ in images:
        for name, model in models.items():
            start = time.process_time()
            found[name].append(model(image).keypoints)
            seconds[name].append(time.process_time() - start)
    both = [
        row
        for row in range(len(images))
        if all(bool(keypoints[row].found) for keypoints in found.values())
    ]
    print(f"{len(images)} occluded images, {len(both)} people found by both")
    for name in models:
        detected = sum(bool(keypoints.found) for keypoints in found[name])
        errors: dict[bool, list[float]] = {True: [], False: []}
        for row in both:
            distance = np.linalg.norm(found[name][row].xy.numpy() - images[row][1], axis=1)
            for joint in range(len(COCO_17_FEET)):
                errors[bool(images[row][2][joint] > 0.5)].append(float(distance[joint]))
        medians = {key: statistics.median(values) for key, values in errors.items()}
        print(
            f"{name}: {detected} found; median error {medians[True]:.1f} px visible, "
            f"{medians[False]:.1f} px hidden; {1e3 * statistics.median(seconds[name]):.0f} ms CPU"
        )


if __name__ == "__main__":
    main()
