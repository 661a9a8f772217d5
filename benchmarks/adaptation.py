"""Adaptation without labels, from a world by day to one at dusk: styles, pseudo labels, training.

    python benchmarks/adaptation.py WORK [--seeds 3] [--rounds 4] [--steps 20]

Renders both worlds into WORK, lifts their images, and prints a table: the metrics of the test
identities at dusk, and the quality of the pseudo labels of the training identities. The oracle
trains as many steps on the true identities. Rendered images and lifted clouds are kept in WORK; a
second run uses them again.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from meshes.world import write_world
from og_reid.adaptation import center_cameras, dbscan, label_quality
from og_reid.config.adapt import AdaptConfig
from og_reid.config.schema import BudgetConfig, OptimConfig, TrainConfig
from og_reid.data import CloudSet, StyledSet, load_market
from og_reid.data.clouds.lift_dataset import lift_dataset
from og_reid.evaluation import Labels, evaluate
from og_reid.inference.pretrained import load_model
from og_reid.rerank import jaccard_neighbors
from og_reid.train import fit
from og_reid.train.adaptation import AdaptTask, adapt, open_student, styled_target

#: Changes of each system's settings; all have the batches, rounds and steps of the command line.
SYSTEMS: dict[str, dict[str, Any]] = {
    "cluster contrast": {},
    "cluster contrast, no style": {"style": "none"},
    "cluster contrast, EMA teacher": {"teacher": "ema"},
    "SpCL": {
        "loss": "hybrid-memory", "keep": "self-paced", "outliers": "singletons",
        "source": "joint", "momentum": 0.2,
    },
    "adaptive exploration": {"loss": "exemplar", "cluster": "none"},
}  # fmt: skip


def lifted(folder: Path, style: str, options: argparse.Namespace) -> tuple[CloudSet, ...]:
    """Training, query and gallery clouds of a world, rendered and lifted once."""
    paths = [folder / f"{style}-{name}.safetensors" for name in ("train", "query", "gallery")]
    if not all(path.exists() for path in paths):
        root = write_world(
            folder / style,
            train_identities=options.train, test_identities=options.test, views=options.views,
            cameras=options.cameras, seed=7 if style == "day" else 8,
            first_identity=0 if style == "day" else 5000,
            style=style,
        )  # fmt: skip
        images = load_market(root)
        for path, samples in zip(paths, (images.train, images.query, images.gallery), strict=True):
            lift_dataset(samples, cache=folder / "clouds").save(path)
    return tuple(CloudSet.load(path) for path in paths)


def score(encoder: Any, query: Any, gallery: Any) -> tuple[float, float]:
    """Rank-1 and mAP, %."""
    features = [next(iter(encoder.embed(items))) for items in (query, gallery)]
    metrics = evaluate(features[0], features[1], Labels.of(query, gallery))
    return 100 * metrics.rank(1), 100 * metrics.mAP


def restyled(target: Any, *sets: Any) -> tuple[Any, ...]:
    """Sets in the style of a restyled target."""
    if not isinstance(target, StyledSet):
        return sets
    return tuple(StyledSet(each, target.styles, target.style) for each in sets)


def labels_row(encoder: Any, config: AdaptConfig, train: Any) -> str:
    """Quality of the first pseudo labels."""
    features = open_student(encoder).embed(train)
    if config.center_cameras:
        features = center_cameras(features, train.camids)
    distances = jaccard_neighbors(features, k1=config.k1, k2=config.k2)
    labels = dbscan(distances, eps=config.eps, min_samples=config.min_samples)
    return str(label_quality(labels, train.camids, truth=train.pids))


def oracle(config: AdaptConfig, encoder: Any, target: Any, out: Path) -> Any:
    """Model trained on the true identities for as many steps."""
    student = open_student(encoder, augmented=config.augment)
    labels = target.pids.unique(return_inverse=True)[1]
    task = AdaptTask(
        config, student, target, labels, student.embed(target),
        cameras=target.camids, round_number=0,
    )  # fmt: skip
    optim = OptimConfig(
        optimizer=config.optimizer, lr=config.lr, weight_decay=config.weight_decay, warmup=0.0,
        final_lr_ratio=1.0, swa_fraction=0.0,
    )  # fmt: skip
    budget = BudgetConfig(steps=config.rounds * config.steps)
    fit(TrainConfig(optim=optim, budget=budget, seed=config.seed), task, out_dir=out)
    student.network.eval()
    return student.encoder


def rows(options: argparse.Namespace) -> Iterator[tuple[str, list[tuple[float, float]], str]]:
    """Name, (rank-1, mAP) by seed and a note of each row."""
    day, dusk = (lifted(options.work, style, options) for style in ("day", "dusk"))
    base = AdaptConfig(
        rounds=options.rounds, steps=options.steps, num_ids=8, num_instances=4, k1=options.k1,
        eps=options.eps, device="cpu", stop_agreement=None,
    )  # fmt: skip

    def model() -> Any:
        return load_model(options.model)

    yield "day, direct", [score(model(), *day[1:])], ""
    own = styled_target(base, day[0], day[0])
    yield "day, to source", [score(model(), *restyled(own, *day[1:]))], ""
    plain = replace(base, style="none", center_cameras=False)
    yield "direct", [score(model(), *dusk[1:])], labels_row(model(), plain, dusk[0])
    centred = replace(base, style="none")
    yield "direct, cameras centred", [], labels_row(model(), centred, dusk[0])
    for name, config in (("to mean", replace(base, style="to-mean")), ("to source", base)):
        target = styled_target(config, dusk[0], day[0])
        yield (
            name,
            [score(model(), *restyled(target, *dusk[1:]))],
            labels_row(model(), config, target),
        )
    for name in options.systems:
        found, last = [], ""
        for seed in range(options.seeds):
            out = options.work / "runs" / f"{name.replace(' ', '_')}-{seed}"
            shutil.rmtree(out, ignore_errors=True)
            config = replace(base, seed=seed, **SYSTEMS[name])
            done = adapt(config, model(), dusk[0], out_dir=out, source=day[0], truth=dusk[0].pids)
            found.append(score(done.encoder, *restyled(done.target, *dusk[1:])))
            last = "" if done.rounds[-1].quality is None else str(done.rounds[-1].quality)
        yield name, found, last
    found = []
    for seed in range(options.seeds):
        out = options.work / "runs" / f"oracle-{seed}"
        shutil.rmtree(out, ignore_errors=True)
        target = styled_target(base, dusk[0], day[0])
        trained = oracle(replace(base, seed=seed), model(), target, out)
        found.append(score(trained, *restyled(target, *dusk[1:])))
    yield "oracle: true identities", found, ""


def interval(values: list[float]) -> str:
    """Mean, with a 95 % interval of Student's t over the seeds where there are several."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:5.1f}"
    factor = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}.get(len(values), 2.6)
    return f"{mean:5.1f} ± {factor * statistics.stdev(values) / len(values) ** 0.5:.1f}"


def main() -> None:
    """Prints the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description="adaptation from day to dusk")
    parser.add_argument("work", type=Path)
    parser.add_argument("--model", default="cloud")
    for name, value in (
        ("train", 48), ("test", 32), ("views", 12), ("cameras", 6), ("seeds", 3), ("rounds", 4),
        ("steps", 20), ("k1", 12),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--eps", type=float, default=0.5)
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS), choices=list(SYSTEMS))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    start = time.process_time()
    print(f"{'':<32} rank-1, %       mAP, %   CPU s  pseudo labels", flush=True)
    for name, found, note in rows(options):
        cells = [interval([each[i] for each in found]) if found else "" for i in (0, 1)]
        spent = time.process_time() - start
        print(f"{name:<32} {cells[0]:>9} {cells[1]:>12} {spent:>7.0f}  {note}", flush=True)


if __name__ == "__main__":
    main()
