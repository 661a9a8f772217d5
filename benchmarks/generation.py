"""Generated images: identified as the person they show, and the gain of each operation in training.

    python benchmarks/generation.py --people 32 --out FOLDER

People of the default world, four images each in four cameras; half are for training, and a third of
their images are occluded. Of all training images and queries `og_reid.pipelines.generate` makes
images. Printed are

- rank-1 of the generated images by the default model among the original images of all people that
  they were not made from (and, of ``style`` and ``occlude``, in other cameras), with 95 % intervals
  by resampling people; in all, and of clear ones: at least 0.3 of the person's pixels show a colour
  of the image, and at least 0.6 of the person is visible. Of ``dress`` the identity of the garments
  and that of the body are counted;
- for each operation the change of mAP of a linear projection of the default model's embeddings,
  trained for some hundred steps (identity loss) on one image a person, with the generated images of
  that image or without, same number of steps, of three seeds; with 95 % intervals by resampling
  queries. Labels of ``dress``: its wearer, its donor, and equal for all (LSRO, Zheng et al., ICCV
  2017);
- mAP and rank-1 by the angle between query and match, on the queries against the ``turn`` images.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import og_reid
from meshes.world import write_world
from og_reid.evaluation import evaluate, viewpoint_curve
from og_reid.pipelines import DataSpec, GenerateSpec, generate

_STEPS = 300
_SEEDS = (0, 1, 2)
_CLEAR = (0.3, 0.6)  # seen, visible
_DRAWS = 2000
_OPERATIONS = ("view", "pose", "dress", "occlude", "style")


def interval(hits: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """Mean and 95 % interval by resampling groups."""
    draws = np.random.default_rng(0)
    names = np.unique(groups)
    sums = np.array([[hits[groups == g].sum(), (groups == g).sum()] for g in names])
    picked = draws.integers(0, len(names), (_DRAWS, len(names)))
    total = sums[picked].sum(1)
    low, high = np.quantile(total[:, 0] / total[:, 1], [0.025, 0.975])
    return float(hits.mean()), float(low), float(high)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a table of generated images."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def identification(rows: Sequence[dict[str, str]], out: Path, originals: Sequence[Path]) -> None:
    """Prints rank-1 of generated among original images."""
    gallery = og_reid.describe([str(path) for path in originals])
    names = np.array([path.name for path in originals])
    pids = np.array([int(name[:4]) for name in names])
    made = og_reid.describe([str(out / row["path"]) for row in rows])
    scores = np.asarray(og_reid.similarity(made, gallery), dtype=np.float64)
    scores[np.array([[row["source"] == name for name in names] for row in rows])] = -np.inf
    best = pids[scores.argmax(1)]
    wearer = np.array([int(row["wearer"]) for row in rows])
    donor = np.array([int(row["donor"] or 0) for row in rows])
    clear = np.array([
        float(row["seen_fraction"]) >= _CLEAR[0] and float(row["visible_fraction"]) >= _CLEAR[1]
        for row in rows
    ])  # fmt: skip
    kind = np.array([row["operation"] for row in rows])
    own = np.asarray(og_reid.similarity(gallery, gallery), dtype=np.float64)
    np.fill_diagonal(own, -np.inf)
    _line("originals", pids[own.argmax(1)] == pids, pids)
    for name in _OPERATIONS:
        for title, some in (("all", kind == name), ("clear", (kind == name) & clear)):
            if not some.any():
                continue
            _line(f"{name}, {title}: the person", (best == wearer)[some], wearer[some])
            if name == "dress":
                _line(f"{name}, {title}: garments", (best == donor)[some], wearer[some])
    same = (kind != "dress") & clear
    _line("all but dress, clear", (best == wearer)[same], wearer[same])


def _line(title: str, hits: np.ndarray, groups: np.ndarray) -> None:
    mean, low, high = interval(hits.astype(float), groups)
    print(f"{title:34} rank-1 {100 * mean:5.1f} [{100 * low:.1f}, {100 * high:.1f}] of {len(hits)}",
          flush=True)  # fmt: skip


def project(features: Tensor, targets: Tensor, seed: int) -> Tensor:
    """(D, D) projection trained with a classifier of soft targets (n, C)."""
    torch.manual_seed(seed)
    width, classes = features.shape[1], targets.shape[1]
    matrix = torch.eye(width, requires_grad=True)
    head = (0.1 * torch.randn(classes, width)).requires_grad_()
    optimizer = torch.optim.Adam([matrix, head], lr=1e-3, weight_decay=1e-4)
    for _ in range(_STEPS):
        rows = torch.randint(len(features), (32,))
        logits = 16 * normalize(features[rows] @ matrix, dim=1) @ normalize(head, dim=1).T
        loss = cross_entropy(logits, targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return matrix.detach()


def soft(labels: Sequence[int], classes: Sequence[int]) -> Tensor:
    """(n, C) targets; 0 is equal for all classes."""
    targets = torch.full((len(labels), len(classes)), 1 / len(classes))
    for row, label in enumerate(labels):
        if label:
            targets[row] = 0
            targets[row, list(classes).index(label)] = 1
    return targets


def gains(rows: Sequence[dict[str, str]], out: Path, root: Path) -> None:
    """Prints the change of mAP by each operation in a small training."""

    def listed(split: str) -> list[Path]:
        return sorted((root / split).glob("*.jpg"))

    train = [path for path in listed("bounding_box_train") if path.name.endswith("_000001_00.jpg")]
    used = {path.name for path in train}
    mine = [row for row in rows if row["source"] in used and row["split"] == "train"]
    query, gallery = listed("query"), listed("bounding_box_test")
    images = [*train, *query, *gallery, *(out / row["path"] for row in mine)]
    features = torch.as_tensor(og_reid.embed([str(path) for path in images])).float()
    parts = features.split([len(train), len(query), len(gallery), len(mine)])
    classes = [int(path.name[:4]) for path in train]
    real = soft(classes, classes)
    labels = {
        f"{side}_{key}": [int(path.name[cut]) for path in paths]
        for side, paths in (("query", query), ("gallery", gallery))
        for key, cut in (("pids", slice(0, 4)), ("camids", slice(6, 7)))
    }

    def scored(extra: Tensor, targets: Tensor) -> np.ndarray:
        found = []
        for seed in _SEEDS:
            matrix = project(torch.cat([parts[0], extra]), torch.cat([real, targets]), seed)
            metrics = evaluate(parts[1] @ matrix, parts[2] @ matrix, **labels)
            found.append(metrics.step.numpy())
        return np.mean(found, 0)

    base = scored(parts[3][:0], real[:0])
    frozen = evaluate(parts[1], parts[2], **labels)
    print(f"mAP of the embeddings {100 * frozen.mAP:.1f}; projection without generated images "
          f"{100 * np.nanmean(base):.1f}", flush=True)  # fmt: skip
    uses = [(name, name, "wearer") for name in _OPERATIONS]
    uses += [("dress, label of the donor", "dress", "donor"), ("dress, LSRO", "dress", "")]
    for title, name, label in uses:
        chosen = [n for n, row in enumerate(mine) if row["operation"] == name]
        given = [int(mine[n][label]) if label else 0 for n in chosen]
        change = scored(parts[3][chosen], soft(given, classes)) - base
        known = ~np.isnan(change)
        mean, low, high = interval(change[known], np.array(labels["query_pids"])[known])
        print(f"{title:28} mAP {100 * mean:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]",
              flush=True)  # fmt: skip


def viewpoints(rows: Sequence[dict[str, str]], out: Path, folder: Path) -> None:
    """Prints accuracy by the angle between query and match."""
    turns = [row for row in rows if row["operation"] == "turn"]
    queries = [row for row in rows if row["operation"] == "original" and row["split"] == "query"]
    query = og_reid.embed([str(folder / "query" / row["source"]) for row in queries])
    gallery = og_reid.embed([str(out / row["path"]) for row in turns])
    curve = viewpoint_curve(
        query, gallery,
        query_pids=[int(row["pid"]) for row in queries],
        gallery_pids=[int(row["pid"]) for row in turns],
        query_camids=None, gallery_camids=None,
        query_yaw=[float(row["yaw"]) for row in queries],
        gallery_yaw=[float(row["yaw"]) for row in turns],
    )  # fmt: skip
    for (low, high), metrics in curve.items():
        scores = f"mAP {100 * metrics.mAP:5.1f}, rank-1 {100 * metrics.rank(1):5.1f}"
        print(f"turned {low:3.0f}-{high:3.0f} degrees: {scores} of {metrics.num_valid} queries")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=32)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--each", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12, help="headings of turn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    half = options.people // 2
    root = write_world(
        options.out / "world", train_identities=half, test_identities=options.people - half,
        views=4, cameras=4, seed=23, occluded_share=0.0, first_identity=40_000,
    )  # fmt: skip
    out = options.out / "generated"
    done = generate(
        GenerateSpec(DataSpec(root), out, operations=_OPERATIONS, each=options.each,
                     splits=("train", "query"), originals=True, sheet=True, skip=True)
    )  # fmt: skip
    print(done, flush=True)
    rows = read_rows(out / "images.csv")
    made = [row for row in rows if row["operation"] != "original"]
    identification(made, out, sorted(root.glob("*/*.jpg")))
    gains(made, out, root)
    turned = options.out / "turned"
    generate(GenerateSpec(DataSpec(root), turned, operations=("turn",), steps=options.steps,
                          splits=("query",), originals=True, sheet=True, skip=True))  # fmt: skip
    viewpoints(read_rows(turned / "images.csv"), turned, root)


if __name__ == "__main__":
    main()
