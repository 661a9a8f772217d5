"""Occlusion on the held-out world: every method by the hidden fraction of the person.

The set (`heldout.py`) is made once into a folder. Rows: colour histogram of stripes, untrained
ImageNet cells, PCB and PGFA trained on the training world with the stated CPU minutes, OG-Net of
lifted clouds, a dense network with its ablations at test time, others of less training, and fusions
with fixed weights. The costs of the
similarity and the calibration were chosen on the first 160 identities, which are left out.
Intervals are 95 % percentiles over resampled identities. Keypoints of PGFA and the rows that say so
use ground truth.

    python benchmarks/occlusion.py FOLDER --model default
    python benchmarks/occlusion.py FOLDER --model FILE --train-baselines 20 --training-set FOLDER
    python benchmarks/occlusion.py FOLDER --skip 0 --identities 40  # a minute: it runs
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

import heldout
import occlusion_rows
from heldout import HeldOutSet, write
from occlusion_report import mask_lines, plot, row_cells, summary, tables
from stripes import Kind, StripeNet, stripe_similarity, train_stripes

RESULTS = Path(__file__).parent / "results"
_KINDS: tuple[Kind, ...] = ("PCB", "PGFA")
#: Input of PCB and PGFA.
BASELINE_SIZE = (192, 96)
#: Rows of the plot.
_DRAWN = ("colour histogram", "ImageNet cells", "PCB", "PGFA", "dense", "dense, global embedding",
          "OG-Net")  # fmt: skip


def baseline_rows(args: argparse.Namespace, compared: HeldOutSet) -> dict[str, Tensor]:
    """PCB and PGFA, trained here or read from the cache; in their own size."""
    rows = {}
    images = heldout.load(str(args.folder), BASELINE_SIZE, args.identities, args.skip)
    assert torch.equal(images.identity, compared.identity)  # the same images as all other rows
    for kind in _KINDS:
        path = args.cache / f"{kind}_{args.train_baselines:g}_{args.baseline_identities}.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            classes = len(state["classifiers.0.weight"])
            network = StripeNet(kind, classes, torch.Generator())
            network.load_state_dict(state)
            network.eval()
        else:
            known = heldout.load(str(args.training_set), BASELINE_SIZE, args.baseline_identities)
            network = train_stripes(
                kind, known.images, known.keypoints, known.identity, args.train_baselines,
                write=write,
            )  # fmt: skip
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(network.state_dict(), path)
        rows[kind] = stripe_similarity(
            network, images.images, images.keypoints, images.queries, images.gallery
        )
    return rows


def similarities(
    args: argparse.Namespace, images: HeldOutSet
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Similarities of all rows, and the own-surface probabilities of the dense network."""
    queries, gallery = images.queries, images.gallery
    colours = occlusion_rows.colour_stripes(images.images)
    rows = {"colour histogram": colours[queries] @ colours[gallery].T}
    for name, masks in (("ImageNet cells", None), ("ImageNet cells, true mask", images.own)):
        cells = occlusion_rows.imagenet_cells(images.images, masks)
        rows[name] = occlusion_rows.compared(cells, queries, gallery)
    if args.train_baselines:
        rows |= baseline_rows(args, images)
    if args.estimated:
        rows |= occlusion_rows.estimated_rows(images.images, queries, gallery)
    for other in args.others:
        title, _, name = other.partition("=")
        network, _, rules = occlusion_rows.load_network(name)
        found = heldout.describe(network, images.images).local
        rows[title] = occlusion_rows.compared(found, queries, gallery, **rules)
    own = None
    if args.model:
        network, _, rules = occlusion_rows.load_network(args.model)
        more, own = occlusion_rows.dense_rows(network, images, queries, gallery, rules, args.ablate)
        rows |= more
        rows["dense + colour histogram"] = occlusion_rows.fused(
            rows["dense"], rows["colour histogram"], 0.3
        )
        rows["dense + global embedding"] = occlusion_rows.fused(
            rows["dense"], rows["dense, global embedding"], 0.3
        )
        if "PGFA" in rows:
            rows["dense + PGFA"] = occlusion_rows.fused(rows["dense"], rows["PGFA"], 0.3)
    return rows, own


def options() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="held-out set; made if it is not there")
    parser.add_argument("--model", help="name or file of a dense network")
    parser.add_argument("--size", type=int, nargs=2, help="input size; default: the network's")
    parser.add_argument("--identities", type=int, help="only the first ones")
    parser.add_argument(
        "--skip",
        type=int,
        default=heldout.DEVELOPMENT,
        help="leave out the first identities, on which settings were chosen",
    )
    parser.add_argument("--train-baselines", type=float, default=0.0, help="CPU minutes for each")
    parser.add_argument("--training-set", type=Path, help="labelled world for the baselines")
    parser.add_argument("--baseline-identities", type=int, default=2400)
    parser.add_argument(
        "--others", nargs="*", default=[], metavar="TITLE=MODEL", help="further dense networks"
    )
    parser.add_argument(
        "--estimated", action="store_true", help="also rows that need a pose estimator"
    )
    parser.add_argument("--ablate", action="store_true", help="also changes at test time")
    parser.add_argument("--cache", type=Path, default=Path("occlusion_cache"))
    parser.add_argument("--write", action="store_true", help="write text and plot to results/")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    if args.train_baselines and args.training_set is None:
        parser.error("--train-baselines needs --training-set")
    return args


def main() -> None:
    """Make the set, score all rows, write tables and the plot."""
    args = options()
    torch.set_num_threads(args.threads)
    if args.size is None:
        args.size = (192, 96)
        if args.model:
            args.size = occlusion_rows.load_network(args.model)[1]
    args.size = tuple(args.size)
    heldout.write_set(args.folder)
    start = time.process_time()
    images = heldout.load(str(args.folder), args.size, args.identities, args.skip)
    found, own = similarities(args, images)
    rows = {name: row_cells(each, images, images.queries) for name, each in found.items()}
    people = len(images.identity.unique())
    lines = [
        "$ python benchmarks/occlusion.py " + " ".join(Path(each).name for each in sys.argv[1:]),
        f"{people} identities, {len(images.gallery)} gallery images, {args.size[0]} x "
        f"{args.size[1]} pixels; {(time.process_time() - start) / 60:.1f} CPU minutes",
        *summary(rows),
    ]
    if own is not None:
        lines += mask_lines(own, images)
        vector = -found["dense, global embedding"]
        recall = heldout.recall_at(vector, images, images.queries)
        lines.append("")
        for name, chosen in heldout.query_groups(images, images.queries).items():
            mean = float(recall[chosen].mean())
            lines.append(f"recall@100 of the global embedding, {name:16} {mean:.3f}")
    lines += tables(rows)
    for line in lines:
        write(line)
    if args.write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "occlusion.txt").write_text("\n".join(lines) + "\n")
        plot({n: c for n, c in rows.items() if n in _DRAWN}, RESULTS / "occlusion.png")


if __name__ == "__main__":
    main()
