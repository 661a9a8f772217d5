"""Benefit of part visibility: PGFA on occluded people of the synthetic world.

Trains a network for a few epochs from random weights, then evaluates occluded queries of other
identities, in a gallery that is 15 % occluded, by three similarities of the same embeddings: over
the commonly visible stripes (masked), over all stripes (unmasked), and of the global embedding
alone. Keypoints and visibility are ground truth, an upper bound for pose estimators. Intervals are
95 % percentiles over resampled queries; those of differences are paired. Images are smaller than
PGFA's 384 x 128 for speed.

Occlusion is by objects in front, as in Occluded-Duke; people cut by the image's border are
excluded, since stripes of a partial person show other parts of the body than those of a whole one,
which no mask mends. There are six stripes: of three, all still show a joint in most occluded
queries. This was decided on other identities (``--skip 1000``); the metrics in results/ are of the
first run on these.

    python benchmarks/common_stripes.py                            # 25 minutes on a core
    python benchmarks/common_stripes.py --skip 1000 --test 48      # others, to decide on
    python benchmarks/common_stripes.py --train 6 --test 4 --views 4 --epochs 1  # a minute
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshes.world import (
    OCCLUDERS,
    WorldPlan,
    WorldShot,
    draw_camera,
    plan_world,
    render,
    sample_scene,
)
from og_reid.data import ImageBatch
from og_reid.data.images.preprocess import preprocess_image
from og_reid.evaluation import Labels, evaluate_distances
from og_reid.losses.objective import CombinedLoss, LossConfig
from og_reid.models import PGFA
from og_reid.models.embedding import Embedding
from og_reid.models.pgfa import Descriptor
from og_reid.retrieval.similarity import visible_part_similarity
from pose import heatmaps, part_visibility

RESAMPLES = 2000


def shoot(shots: list[WorldShot], args: argparse.Namespace) -> ImageBatch:
    """Batch of rendered images with ground truth keypoints."""
    images, maps, visible = [], [], []
    for shot in shots:
        pid = shot.pid + (args.skip if shot.pid > args.train else 0)
        generator = torch.Generator().manual_seed(10_000 * pid + 10 * shot.view + args.seed)
        camera = draw_camera(args.seed, shot.camera)
        occlusion = args.occluders if shot.occluded else None
        shown = render(sample_scene(pid - 1, camera, generator, occlusion))
        size = (shown.image.shape[0], shown.image.shape[1])
        images.append(preprocess_image(shown.image.numpy(), args.size))
        cells = (args.size[0] // 16, args.size[1] // 16)
        maps.append(heatmaps(shown.keypoints, size, cells=cells))
        visible.append(part_visibility(shown.keypoints, size, parts=args.parts))
    pids, camids = (torch.tensor([getattr(s, key) for s in shots]) for key in ("pid", "camera"))
    return ImageBatch(torch.stack(images), torch.stack(maps), torch.stack(visible), pids, camids)


def batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of rows in random order; the last incomplete one is dropped."""
    order = torch.randperm(count, generator=generator)
    yield from order[: count - count % size].split(size)


def train(people: ImageBatch, args: argparse.Namespace) -> PGFA:
    """Network trained to classify the training identities."""
    generator = torch.Generator().manual_seed(args.seed)
    identities, labels = people.pids.unique(return_inverse=True)
    network = PGFA(len(identities), args.parts, dropout=args.dropout, generator=generator)
    # The authors' recipe is for a backbone pretrained on ImageNet; random weights need another one.
    # Zero-initialised residual branches (Goyal et al., 2017) converge faster.
    for name, weight in network.model.named_parameters():
        if name.endswith("bn3.weight"):
            torch.nn.init.zeros_(weight)
    optimizer = torch.optim.AdamW(network.parameters(), args.lr, weight_decay=5e-4)
    config = LossConfig(part_weight=0.5)
    whole = network.global_head is not None
    objective = CombinedLoss(
        config, 256, len(identities), task="image", parts=args.parts, whole=whole
    )
    steps = args.epochs * (len(labels) // args.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, max(1, steps))
    for epoch in range(args.epochs):
        total = 0.0
        for rows in batches(len(labels), args.batch, generator):
            chosen = torch.rand(len(rows), generator=generator) < 0.5
            batch = rows_of(people, rows).mirrored(chosen)
            features = network(batch.images, batch.heatmaps)
            by_part, by_image = network.classify(features)
            loss = objective(
                network, None, labels[rows], part_logits=by_part, image_logits=by_image
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        write(f"epoch {epoch + 1}: loss {total / max(1, len(labels) // args.batch):.3f}")
    return network.eval()


def rows_of(people: ImageBatch, rows: Tensor) -> ImageBatch:
    """Rows of a batch."""
    return ImageBatch(**{name: values[rows] for name, values in vars(people).items()})


def embed(network: PGFA, people: ImageBatch, descriptor: Descriptor) -> Embedding:
    """Embeddings of all images, 32 at a time."""
    batches = (rows_of(people, rows) for rows in torch.arange(len(people)).split(32))
    return Embedding.cat(
        network.embed(each.images, each.heatmaps, each.visibility, descriptor=descriptor)
        for each in batches
    )


def precisions(
    query: Embedding, gallery: Embedding, labels: tuple[ImageBatch, ImageBatch]
) -> Tensor:
    """(Q,) average precision of each query, NaN where it has no match."""
    asked, searched = labels
    return evaluate_distances(
        -visible_part_similarity(query, gallery),
        Labels.of(asked, searched),
    ).average_precision


def interval(values: Tensor) -> str:
    """Mean of values per query in % with its interval."""
    values = values[values.isfinite()]
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(len(values), (RESAMPLES, len(values)), generator=generator)
    low, high = values[rows].mean(1).quantile(values.new_tensor([0.025, 0.975])).tolist()
    return f"{100 * float(values.mean()):6.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def report(network: PGFA, query: ImageBatch, gallery: ImageBatch) -> None:
    """Writes mAP of the three similarities, with both kinds of part embeddings."""
    hidden = (query.visibility < 1).any(1)
    groups = {"all": torch.ones_like(hidden), "hidden stripe": hidden}
    for descriptor in get_args(Descriptor):
        asked, searched = (embed(network, each, descriptor) for each in (query, gallery))
        alone = asked.without_parts(), searched.without_parts()
        found = {
            "masked": precisions(asked, searched, (query, gallery)),
            "unmasked": precisions(asked.unmasked(), searched.unmasked(), (query, gallery)),
            "global": precisions(alone[0], alone[1], (query, gallery)),
        }
        for group, rows in groups.items():
            write(f"features {descriptor}, {int(rows.sum())} queries: {group}")
            for name, values in found.items():
                write(f"  {name:20} mAP {interval(values[rows])}")
            for pair in (("masked", "unmasked"), ("unmasked", "global"), ("masked", "global")):
                better, worse = (found[name][rows] for name in pair)
                write(f"  {' - '.join(pair):20}     {interval(better - worse)}")


def write(line: str) -> None:
    """Writes a line to standard output and flushes it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the options, make the world, train and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--train", type=int, default=64, help="training identities")
    parser.add_argument("--test", type=int, default=150, help="test identities")
    parser.add_argument("--views", type=int, default=8, help="images per identity")
    parser.add_argument("--cameras", type=int, default=6)
    parser.add_argument("--parts", type=int, default=6, help="stripes")
    parser.add_argument(
        "--occluders", nargs="+", choices=OCCLUDERS, default=[k for k in OCCLUDERS if k != "cut"]
    )
    parser.add_argument("--skip", type=int, default=0, help="offset of the test identities")
    parser.add_argument("--size", type=int, nargs=2, default=(96, 48), help="height and width")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    args.size = tuple(args.size)
    torch.set_num_threads(args.threads)
    plan = WorldPlan(args.train, args.test, args.views, args.cameras, args.seed, occluded_share=1.0)
    shots = plan_world(plan)
    splits = {}
    for split in ("bounding_box_train", "query", "bounding_box_test"):
        splits[split] = shoot([shot for shot in shots if shot.split == split], args)
        write(f"{split}: {len(splits[split].pids)} images")
    network = train(splits["bounding_box_train"], args)
    report(network, splits["query"], splits["bounding_box_test"])


if __name__ == "__main__":
    main()
