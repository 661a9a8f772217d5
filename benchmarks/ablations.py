"""Ablations of dense local features: one run each, scored on the held-out world.

A run trains `configs/synthetic/dense.yaml` with one change for the same CPU minutes as all others,
and is scored by late interaction and by its mask. Differences below those of two full runs with
different seeds mean nothing. Changes at test time alone (no mask, true mask, one way) are rows of
`occlusion.py`.

    python benchmarks/ablations.py full --data LABELLED --held-out HELD_OUT
    python benchmarks/ablations.py full --seed 1 ...     # noise of a run
    python benchmarks/ablations.py no-people ...
    python benchmarks/ablations.py all ...               # one after the other
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from heldout import LEVELS, score, write
from occlusion_rows import load_network

from meshes.world.labelled import labelled_shards
from og_reid.models.dense_reid import DenseReID
from og_reid.models.efficientnet_lite import EfficientNetLite

#: Groups of queries of the table.
GROUPS = (*(f"{round(100 * level)} %" for level in LEVELS), "dark", "low resolution", "crowd")
RESULTS = Path(__file__).parent / "results" / "ablations.jsonl"
_SHARD = 20  # identities of a shard


@dataclass(frozen=True)
class Ablation:
    """A change of the full run.

    Attributes:
        settings: settings ``KEY=VALUE`` of the configuration.
        identities: training identities; None: all.
        taps: feature maps that local features use, of strides 8, 16 and 16.
    """

    settings: tuple[str, ...] = ()
    identities: int | None = None
    taps: tuple[int, ...] = (0, 1, 2)


ABLATIONS = {
    "full": Ablation(),
    "no-people": Ablation(("composite.front=0", "composite.behind=0")),
    "no-things": Ablation(("composite.things=0",)),
    "no-darkness": Ablation(("composite.dark=0", "composite.backlight=0")),
    "no-low-resolution": Ablation(
        ("composite.resolution=0", "composite.blur=0", "composite.jpeg=0")
    ),
    "no-backgrounds": Ablation(("composite.background=0",)),
    "no-crops": Ablation(("composite.crop=0",)),
    "no-prompt": Ablation(("composite.prompt=0",)),
    "frozen-backbone": Ablation(("dense.frozen_blocks=11",)),
    "no-part-loss-truth": Ablation(("dense.true_weights=0",)),
    "true-weights": Ablation(("dense.true_weights=1",)),
    "no-global": Ablation(("dense.global_weight=0",)),
    "one-way": Ablation(("dense.symmetric=false",)),
    "image-rows": Ablation(("dense.positions=image",)),
    "body-height": Ablation(("dense.positions=body",)),
    "no-context": Ablation(("dense.context_blocks=0",)),
    "no-reliability": Ablation(("dense.reliability=0",)),
    "one-tap": Ablation(taps=(2,)),
    "two-taps": Ablation(taps=(1, 2)),
    "100-identities": Ablation(identities=100),
    "500-identities": Ablation(identities=500),
    "2000-identities": Ablation(identities=2000),
    "small-input": Ablation(("dense.sizes=[[192, 96]]",)),
    "large-input": Ablation(("dense.sizes=[[256, 128]]",)),
}  # fmt: skip


def subset(data: Path, identities: int | None, out: Path) -> Path:
    """Folder with links to the shards of the first identities, whole shards only."""
    if identities is None:
        return data
    folder = out / f"first_{identities}"
    folder.mkdir(parents=True, exist_ok=True)
    for shard in labelled_shards(data)[: identities // _SHARD]:
        link = folder / shard.name
        if not link.exists():
            link.symlink_to(shard.resolve())
    manifest = folder / "world.json"
    if not manifest.exists():
        manifest.symlink_to((data / "world.json").resolve())
    return folder


@contextmanager
def only_taps(taps: tuple[int, ...]) -> Iterator[None]:
    """Networks calibrated inside use some feature maps alone for local and global features."""
    calibrate: Callable[..., None] = DenseReID.calibrate

    def calibrated(network: DenseReID, images: torch.Tensor) -> None:
        calibrate(network, images)
        start = 0
        for tap, channels in enumerate(EfficientNetLite.channels):
            if tap not in taps:
                network.scale[start : start + channels] = 1e6
                network.project.weight.data[:, start : start + channels] = 0
            start += channels

    DenseReID.calibrate = calibrated  # type: ignore[method-assign]
    try:
        yield
    finally:
        DenseReID.calibrate = calibrate  # type: ignore[method-assign]


def run(name: str, args: argparse.Namespace) -> dict[str, float]:
    """Trains one ablation unless its model is there, and scores it."""
    from og_reid.pipelines import TrainSpec, train
    from og_reid.pipelines.data import DataSpec

    ablation = ABLATIONS[name]
    out = args.out / f"{name}_{args.minutes:g}_{args.seed}"
    model = out / "model.safetensors"
    if not model.exists():
        settings = (
            f"budget.cpu_minutes={args.minutes}", "budget.steps=1000000", f"seed={args.seed}",
            *ablation.settings,
        )  # fmt: skip
        data = DataSpec(subset(args.data, ablation.identities, args.out))
        with only_taps(ablation.taps):
            train(TrainSpec("synthetic/dense", out, data, settings, resume=out.exists()))
    network, size, rules = load_network(str(model))
    return score(
        network, args.held_out, size, identities=args.identities, rules=rules, variants=True
    )


def line(name: str, seed: int, found: dict[str, float]) -> str:
    """One row of the table: mAP of each group of queries, and the mask."""
    levels = [f"mAP {group}" for group in GROUPS]
    cells = "".join(f"{100 * found.get(level, float('nan')):8.1f}" for level in levels)
    mask = "".join(f"{found[key]:8.3f}" for key in ("mask auc inside", "mask ece", "recall@100"))
    return f"{name:22}{seed:5}{cells}{mask}"


def main() -> None:
    """Train and score the named ablations."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="+", choices=[*ABLATIONS, "all"])
    parser.add_argument("--data", type=Path, required=True, help="labelled training images")
    parser.add_argument("--held-out", type=Path, required=True, help="held-out set")
    parser.add_argument("--minutes", type=float, default=10.0, help="CPU minutes of a run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--identities", type=int, default=150, help="of the held-out set")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    names = list(ABLATIONS) if "all" in args.name else args.name
    titles = "".join(f"{group.split()[0]:>8}" for group in GROUPS)
    write(f"{'ablation':22}{'seed':>5}{titles}{'auc':>8}{'ece':>8}{'r@100':>8}")
    for name in names:
        start = time.process_time()
        found = run(name, args)
        write(line(name, args.seed, found))
        record = {"name": name, "seed": args.seed, "minutes": args.minutes, **found,
                  "cpu_seconds": round(time.process_time() - start)}  # fmt: skip
        with RESULTS.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
