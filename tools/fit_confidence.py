"""Calibrate `meshes.BodyFit.confidence`, ``meshes/data/fit_confidence.json``, on rendered people.

    python tools/fit_confidence.py FOLDER

Renders 120 people of the city world, five images each (FOLDER keeps them), who are in no training
set of the default model. Fits to estimated keypoints, without and with masks of that model, give
evidence for each joint (`meshes.fitting.confidence.FEATURES`) and whether it is in its place; a
logistic regression with an offset for each part predicts this. It also prints the 99th percentile
of `meshes.quality.keypoint_distance` over clear people whose keypoints are their own: limits of
doubt about the person. The held-out world, on which
`benchmarks/fit.py` measures the calibration, has no part in it. The default world has none either:
its images are easier than any other ones, and with them confidence was too high elsewhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.fit import GROUPS, fit_all, is_other
from benchmarks.fit_set import FitSet, load, make, near
from meshes.fitting.confidence import FEATURES, FILE, NEAR, PARTS, evidence
from meshes.fitting.skeleton import Skeleton
from meshes.quality import keypoint_distance
from meshes.world.labelled import write_labelled_world
from pose import Keypoints

__all__ = ["fit_logistic"]

_PLAN = {"identities": 120, "views": 5, "seed": 31, "first_identity": 600_000}
_PENALTY = 3.0  # of squared coefficients: a part without evidence keeps the mean of all parts
_ITERATIONS = 50


def fit_logistic(found: Tensor, parts: Sequence[str], truth: Tensor) -> dict[str, Any]:
    """Coefficients of a logistic regression with an offset for each part.

    Args:
        found: (N, J, F) evidence.
        parts: J names.
        truth: (N, J) bool.

    Returns:
        "weights" of the features and "offsets" of the parts, by name.
    """
    names = sorted(set(parts))
    which = torch.tensor([names.index(part) for part in parts])
    one_hot = torch.nn.functional.one_hot(which, len(names)).expand(len(found), -1, -1)
    design = torch.cat([torch.ones_like(found[..., :1]), found, one_hot], -1).flatten(0, 1).double()
    target = truth.flatten().double()
    penalty = torch.full((design.shape[1],), _PENALTY, dtype=torch.float64)
    penalty[0] = 1e-6
    values = torch.zeros_like(penalty)
    for _ in range(_ITERATIONS):
        probability = torch.sigmoid(design @ values)
        spread = probability * (1 - probability)
        hessian = design.T @ (design * spread[:, None]) + torch.diag(penalty)
        slope = design.T @ (target - probability) - penalty * values
        values = values + torch.linalg.solve(hessian, slope)
    rounded = [round(float(value), 3) for value in values]
    count = found.shape[-1]
    return {
        "weights": dict(zip(FEATURES, rounded[1 : 1 + count], strict=True)),
        "offsets": {
            name: round(rounded[0] + value, 3)
            for name, value in zip(names, rounded[1 + count :], strict=True)
        },
    }


def _examples(data: FitSet, *, masks: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Evidence (N, J, F) and truth (N, J) of all people that the estimator finds.

    And the distances (M,) of keypoints and bodies of clear people who are rightly found.
    """
    found, truth, distances = [], [], []
    for row, fit, mask in fit_all(data, masks=masks):
        if masks and mask is None:
            continue
        pose = data.estimated(row)
        keypoints = Keypoints.stack([pose.keypoints])
        if data.hidden[row] <= GROUPS[0] and not is_other(pose.keypoints.xy, data, row):
            distances.append(keypoint_distance(fit, pose.keypoints))
        size = torch.tensor([data.image.shape[1:3]])
        own = [mask] if masks else None
        found.append(evidence(fit, keypoints, size, own, Skeleton(fit.body)))
        truth.append(near(data, row, fit, NEAR))
    return torch.cat(found), torch.stack(truth), torch.tensor(distances)


def main() -> None:
    """Render the people, fit bodies to them, calibrate, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=FILE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    write_labelled_world(args.folder, **_PLAN, settings="city")
    kept = args.folder / "fit.npz"
    if not kept.is_file():
        make(args.folder, range(_PLAN["identities"]), kept)
    data = load(kept)
    content: dict[str, Any] = {
        "about": "made by tools/fit_confidence.py on people of the city world",
        "people": dict(_PLAN),
    }
    for name, masks in (("without mask", False), ("with mask", True)):
        found, truth, distances = _examples(data, masks=masks)
        content[name] = {"fits": len(found), **fit_logistic(found, PARTS, truth)}
        print(name, content[name])
        print(f"distances of {len(distances)} clear people: {float(distances.quantile(0.99)):.3f}")
    args.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
