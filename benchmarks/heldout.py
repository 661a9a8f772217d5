"""Scores on the held-out world: other people, things, places and cameras than any training world.

A set holds ten images of every identity (`meshes.world.heldout`): two clear ones from cameras 1 to
3 are the gallery; queries from other cameras are drawn at 0, 20, 40, 60 and 80 % hidden, and again
in the dark, at low resolution and in a crowd. Queries are grouped by the true hidden fraction.

    python benchmarks/heldout.py FOLDER                  # make the set, or finish it
    python benchmarks/heldout.py FOLDER --model FILE     # score a network of dense local features
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshes.world.labelled import (
    LabelledImages,
    labelled_shards,
    read_labelled_shard,
    write_labelled_world,
)
from og_reid.evaluation import evaluate_distances
from og_reid.models.local_features import LocalFeatures
from og_reid.ops.late_interaction import late_interaction
from og_reid.retrieval.labels import ImageLabels, Labels

if TYPE_CHECKING:
    from og_reid.evaluation import Metrics
    from og_reid.models.dense_reid import DenseReID

__all__ = [
    "LEVELS", "PLAN", "Described", "HeldOutSet", "describe", "evaluate_groups", "load",
    "mask_quality", "query_groups", "recall_at", "score", "write_set",
]  # fmt: skip

#: Identities of the set on which costs of the similarity and the calibration were chosen.
DEVELOPMENT = 160
#: Parameters of the set behind the figures in results/.
PLAN = {"identities": 300, "views": 10, "seed": 29, "cameras": 13, "first_identity": 0}
#: Hidden fractions of the groups of queries; each group reaches 0.1 to both sides.
LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8)
_GALLERY_VIEWS = (0, 1)
_LEVEL_VIEWS = (2, 3, 4, 5, 6)
_OTHER_VIEWS = {"dark": 7, "low resolution": 8, "crowd": 9}
_BATCH = 32


@dataclass(frozen=True, eq=False)
class HeldOutSet:
    """Images of the held-out world at one size, one row an image.

    Attributes:
        images: (N, 3, H, W) uint8.
        own: (N, H / 8, W / 8) float16, fraction of each block that shows the person.
        amodal: the same without occluders.
        identity, camera, view: (N,) int64.
        hidden: (N,) float32, true hidden fraction of the person.
        keypoints: (N, 21, 3), pixels of 256 x 128 and visibility, of `COCO_17_FEET`.
        occluder: kind of occlusion of each image, or "none".
    """

    images: Tensor
    own: Tensor
    amodal: Tensor
    identity: Tensor
    camera: Tensor
    view: Tensor
    hidden: Tensor
    keypoints: Tensor
    occluder: tuple[str, ...]

    @property
    def gallery(self) -> Tensor:
        """Rows of the gallery."""
        return torch.isin(self.view, torch.tensor(_GALLERY_VIEWS)).nonzero()[:, 0]

    @property
    def queries(self) -> Tensor:
        """Rows of all queries."""
        return (~torch.isin(self.view, torch.tensor(_GALLERY_VIEWS))).nonzero()[:, 0]

    def labels(self, queries: Tensor) -> Labels:
        """Labels of some query rows and of the gallery."""
        sides = (ImageLabels(self.identity[r], self.camera[r]) for r in (queries, self.gallery))
        return Labels(*sides)


@dataclass(frozen=True, eq=False)
class Described:
    """Output of a network for all images of a set.

    Own-surface probabilities are (N, h, w); the reliability of cells is (N, L), or None.
    """

    local: LocalFeatures
    pooled: Tensor
    own: Tensor
    reliability: Tensor | None = None


def write_set(folder: Path) -> None:
    """Makes the held-out set, or finishes an interrupted one."""
    write_labelled_world(
        folder, **PLAN, settings="held-out",
        progress=lambda done, total: write(f"{done} of {total} images"),
    )  # fmt: skip


@lru_cache(maxsize=2)
def load(
    folder: str | Path, size: tuple[int, int], identities: int | None = None, skip: int = 0
) -> HeldOutSet:
    """Images of a folder at a size (height, width), multiples of 16; some of the identities.

    Args:
        folder: a labelled set, complete or not.
        size: height and width of the images.
        identities: number of the first identities that are kept; None: all.
        skip: number of the first identities that are left out.
    """
    views = json.loads((Path(folder) / "world.json").read_text())["views"]
    images, own, amodal, identity, camera, hidden, points = [], [], [], [], [], [], []
    occluder: list[str] = []
    for path in labelled_shards(folder):
        shard = read_labelled_shard(path)
        images.append(_resized(torch.from_numpy(shard.image).permute(0, 3, 1, 2), size))
        own.append(_blocks(torch.from_numpy(shard.mask), size))
        amodal.append(_blocks(torch.from_numpy(shard.amodal), size))
        identity.append(torch.from_numpy(shard.identity))
        camera.append(torch.from_numpy(shard.camera))
        hidden.append(1 - torch.from_numpy(shard.visible_fraction))
        points.append(_points(shard))
        occluder += shard.occluder.tolist()
        if identities is not None and int(identity[-1].max()) + 1 >= identities:
            break
    number = torch.cat(identity)
    kept = number >= skip
    if identities is not None:
        kept &= number < identities
    rows = kept.nonzero()[:, 0]
    view = torch.arange(len(number)) % views
    return HeldOutSet(
        *(torch.cat(each)[rows] for each in (images, own, amodal, identity, camera)),
        view=view[rows],
        hidden=torch.cat(hidden)[rows],
        keypoints=torch.cat(points)[rows],
        occluder=tuple(occluder[row] for row in rows.tolist()),
    )


def _points(shard: LabelledImages) -> Tensor:
    visibility = torch.from_numpy(shard.keypoint_visibility)
    return torch.cat([torch.from_numpy(shard.keypoints), visibility[..., None]], -1)


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.shape[2:] == size:
        return images.contiguous()
    pieces = []
    for batch in images.split(64):
        small = interpolate(batch.float(), size, mode="bilinear", antialias=True)
        pieces.append(small.round().clamp(0, 255).to(torch.uint8))
    return torch.cat(pieces)


def _blocks(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Fractions of the blocks of 8 x 8 pixels at the given size."""
    cells = (size[0] // 8, size[1] // 8)
    planes = mask[:, None].float()
    if mask.shape[1] % cells[0] == 0 and mask.shape[2] % cells[1] == 0:
        step = (mask.shape[1] // cells[0], mask.shape[2] // cells[1])
        return avg_pool2d(planes, step)[:, 0].half()
    return interpolate(planes, cells, mode="area")[:, 0].half()


def query_groups(images: HeldOutSet, queries: Tensor) -> dict[str, Tensor]:
    """Rows of ``queries`` (Q,) of each group, by the true hidden fraction or by the variant."""
    view, hidden = images.view[queries], images.hidden[queries]
    plain = torch.isin(view, torch.tensor(_LEVEL_VIEWS))
    groups = {}
    for level in LEVELS:
        chosen = plain & ((hidden - level).abs() <= 0.1)
        groups[f"{round(100 * level)} %"] = chosen.nonzero()[:, 0]
    for name, number in _OTHER_VIEWS.items():
        groups[name] = (view == number).nonzero()[:, 0]
    return {name: rows for name, rows in groups.items() if len(rows)}


@torch.inference_mode()
def describe(network: DenseReID, images: Tensor) -> Described:
    """Local features, global embeddings and own-surface probabilities of images (N, 3, H, W)."""
    training = network.training
    network.eval()
    local, pooled, own, reliability = [], [], [], []
    for batch in images.split(_BATCH):
        output = network(batch.float())
        local.append(network.local_features(output))
        pooled.append(torch.nn.functional.normalize(output.pooled, dim=1))
        own.append(1 - output.logits.softmax(1)[:, 0])
        reliability.append(output.reliability)
    network.train(training)
    learned = [each for each in reliability if each is not None]
    return Described(
        LocalFeatures.cat(local),
        torch.cat(pooled),
        torch.cat(own),
        torch.cat(learned) if learned else None,
    )


def evaluate_groups(
    distances: Tensor, images: HeldOutSet, queries: Tensor
) -> dict[str, tuple[Metrics, Tensor]]:
    """Metrics of each group of queries, with its rows of ``queries``, from distances (Q, G)."""
    found = {}
    for name, rows in query_groups(images, queries).items():
        found[name] = evaluate_distances(distances[rows], images.labels(queries[rows])), rows
    return found


def recall_at(distances: Tensor, images: HeldOutSet, queries: Tensor, first: int = 100) -> Tensor:
    """(Q,) fraction of the matches of each query among its ``first`` gallery images."""
    same = images.identity[queries][:, None] == images.identity[images.gallery]
    best = distances.topk(min(first, distances.shape[1]), dim=1, largest=False).indices
    return same.gather(1, best).sum(1) / same.sum(1).clamp(min=1)


def auc(scores: Tensor, truth: Tensor) -> float:
    """Area under the ROC curve of scores (N,) for a truth (N,) bool; ties count half."""
    positive, negative = scores[truth].double(), scores[~truth].double().sort().values
    if not len(positive) or not len(negative):
        return float("nan")
    below = torch.searchsorted(negative, positive)
    upto = torch.searchsorted(negative, positive, right=True)
    return float((below + upto).double().mean() / 2 / len(negative))


def mask_quality(own: Tensor, images: HeldOutSet, rows: Tensor) -> dict[str, float]:
    """Quality of own-surface probabilities (R, h, w) on images ``rows``.

    Returns:
        "auc": over all blocks that are surely own or not; "auc inside": over those of the amodal
        person, to separate the person from what lies on it; "ece": expected calibration error in
        ten bins; "recall" and "precision" at 0.5; "other weight": fraction of the weight that lies
        on other things.
    """
    truth, whole = images.own[rows].float(), images.amodal[rows].float()
    sure = (truth < 0.1) | (truth > 0.9)
    label = truth > 0.5
    inside = sure & (whole > 0.9)
    bins = (own * 10).long().clamp(0, 9).flatten()
    count = torch.zeros(10).index_add(0, bins, torch.ones(len(bins)))
    gap = torch.zeros(10).index_add(0, bins, (own - truth).flatten())
    chosen = own > 0.5
    return {
        "auc": auc(own[sure], label[sure]),
        "auc inside": auc(own[inside], label[inside]),
        "ece": float(gap.abs().sum() / count.sum()),
        "recall": float((chosen & label).sum() / label.sum().clamp(min=1)),
        "precision": float((chosen & label).sum() / chosen.sum().clamp(min=1)),
        "other weight": float((own * (1 - truth)).sum() / own.sum().clamp(min=1e-6)),
    }


def score(
    network: DenseReID,
    folder: str | Path,
    size: tuple[int, int],
    *,
    identities: int | None = None,
    variants: bool = False,
    rules: Mapping[str, float | bool] | None = None,
) -> dict[str, float]:
    """Rank-1 and mAP by hidden level, mask quality, and recall of the global embedding.

    Args:
        network: network of dense local features, on the CPU.
        folder: a held-out set, complete or not.
        size: height and width of its input.
        identities: only the first ones, for speed; the gallery shrinks with them.
        variants: also score dark, low-resolution and crowded queries.
        rules: options of `late_interaction`.

    Returns:
        Figures by name, such as "rank-1 40 %", "mAP 40 %", "recall@100", "mask auc inside".
    """
    images = load(str(folder), size, identities)
    queries, gallery = images.queries, images.gallery
    if not variants:
        queries = queries[torch.isin(images.view[queries], torch.tensor(_LEVEL_VIEWS))]
    used = torch.cat([queries, gallery])
    described = describe(network, images.images[used])
    asked, searched = torch.arange(len(queries)), torch.arange(len(queries), len(used))
    options = dict(rules or {})
    similarity = late_interaction(
        *described.local[asked].tensors, *described.local[searched].tensors, **options
    )[0]
    result = {}
    for name, (metrics, _) in evaluate_groups(-similarity, images, queries).items():
        result[f"rank-1 {name}"] = metrics.rank(1)
        result[f"mAP {name}"] = metrics.mAP
    by_vector = -(described.pooled[asked] @ described.pooled[searched].T)
    for name, (metrics, rows) in evaluate_groups(by_vector, images, queries).items():
        result[f"global mAP {name}"] = metrics.mAP
        result[f"recall@100 {name}"] = float(
            recall_at(by_vector[rows], images, queries[rows]).mean()
        )
    result["recall@100"] = float(recall_at(by_vector, images, queries).mean())
    quality = mask_quality(described.own, images, used)
    return result | {f"mask {name}": value for name, value in quality.items()}


def write(line: str) -> None:
    """Writes a line to standard output and flushes it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Make the set, and score a network."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="file of a network of dense local features")
    parser.add_argument("--identities", type=int, help="only the first ones")
    parser.add_argument("--size", type=int, nargs=2, help="height and width of its input")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.model is None:
        write_set(args.folder)
        return
    from occlusion_rows import load_network

    network, size, rules = load_network(args.model)
    size = tuple(args.size or size)
    for name, value in score(network, args.folder, size, identities=args.identities,
                             variants=True, rules=rules).items():  # fmt: skip
        write(f"{name:24} {value:.3f}")


if __name__ == "__main__":
    main()
