"""What each command of ``og-reid`` does: heavy packages are imported by the one that runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .options import check_out

if TYPE_CHECKING:
    from meshes import PointCloud

__all__ = ["do_convert", "do_demo", "do_doctor", "do_embed", "do_lift"]

_CLOUDS = {".ply", ".npz", ".obj"}


def do_demo(options: argparse.Namespace) -> None:
    """Makes the report of the demonstration."""
    from ..demo import run_demo
    from ..progress import progress_stages

    with progress_stages() as show:
        report = run_demo(options.out, options.image, workers=options.workers, progress=show)
    print(f"report: {report}")


def do_lift(options: argparse.Namespace) -> None:
    """Lifts one photograph to a cloud."""
    from meshes import write_pointcloud

    from ..api import lift

    out = options.out or options.photo.with_suffix(".ply")
    check_out(out)
    cloud = lift(options.photo)
    write_pointcloud(out, cloud)
    print(f"{out}: {len(cloud)} points, {len(cloud.seen())} of them seen on the body")


def do_embed(options: argparse.Namespace) -> None:
    """Writes the descriptors of clouds and photographs."""
    import numpy as np

    from pose.atomic import replacing

    from ..api import embed, lift
    from ..data.market import IMAGE_ENDINGS
    from ..loading import load_model
    from ..progress import progress_bar

    # The model first: its mistakes are found before minutes of lifting.
    check_out(options.out)
    for path in options.inputs:
        if path.suffix.lower() not in IMAGE_ENDINGS | _CLOUDS:
            raise ValueError(
                f"{path} is neither a cloud ({', '.join(sorted(_CLOUDS))}) nor a photograph "
                f"({', '.join(sorted(IMAGE_ENDINGS))}): convert it"
            )
    stored = load_model(options.model)
    clouds: list[PointCloud | Path] = []
    with progress_bar("lifting photographs") as show:
        for done, path in enumerate(options.inputs, start=1):
            photo = path.suffix.lower() in IMAGE_ENDINGS
            pose = stored.preprocessing.canonical
            clouds.append(lift(path, canonical=pose) if photo else path)
            show(done, len(options.inputs), "")
    features = embed(clouds, stored).numpy()
    names = [str(path) for path in options.inputs]
    with replacing(options.out) as partial, partial.open("wb") as file:
        np.savez(file, features=features, names=np.array(names))
    print(f"{options.out}: {len(features)} descriptors of {features.shape[1]} numbers")
    if len(features) == 2:
        print(f"similarity: {float(features[0] @ features[1]):.3f} (1 = the same cloud)")


def do_convert(options: argparse.Namespace) -> None:
    """Makes a store of a tree of the authors' clouds."""
    from ..data.convert import convert_market3d
    from ..progress import progress_bar

    if options.points < 0:
        raise ValueError(f"--points must be at least 0; got {options.points}")
    with progress_bar("converting") as show:
        done = convert_market3d(
            options.source,
            options.out,
            splits=options.splits,
            expected=options.points or None,
            workers=options.workers,
            progress=lambda done, total: show(done, total, f"{done} of {total} clouds"),
        )
    count = sum(done.clouds.values())
    splits = ", ".join(f"{split} {number}" for split, number in done.clouds.items())
    print(f"{options.out}: {count} clouds ({splits})")
    print(
        f"{done.shards} shards, {done.kept} of them found finished; {done.bytes / 1e6:.1f} MB, "
        f"{done.bytes / count / 1e3:.1f} kB a cloud"
    )


def do_doctor(_: argparse.Namespace) -> None:
    """Prints what this installation consists of; fails when something is wrong with it."""
    from ..doctor import examine

    findings = examine()
    topic = ""
    for finding in findings:
        if finding.topic != topic:
            topic = finding.topic
            print(topic)
        print(f"  {'ok ' if finding.good else 'BAD'} {finding}")
    bad = [finding.name for finding in findings if not finding.good]
    if bad:
        raise RuntimeError(f"something is wrong with: {', '.join(bad)}")
