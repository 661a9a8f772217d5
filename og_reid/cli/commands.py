"""What each command of ``og-reid`` does: heavy packages are imported by the one that runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..pipelines.input_files import list_files, report_failures
from .options import check_out

if TYPE_CHECKING:
    from ..data.files.inputs import Input

__all__ = ["do_convert", "do_demo", "do_doctor", "do_embed", "do_lift"]


def do_demo(options: argparse.Namespace) -> None:
    """Makes the report of the demonstration."""
    from ..pipelines.demo import run_demo
    from .progress import progress_stages

    print(
        "about 6 minutes of processor time; what an earlier run has made is used again. The times "
        "below are on the clock, at the load of this machine",
        file=sys.stderr,
    )
    with progress_stages() as show:
        report = run_demo(options.out, options.image, workers=options.workers, progress=show)
    print(f"report: {report}")


def do_lift(options: argparse.Namespace) -> None:
    """Lifts one image to a cloud, or many to a folder of clouds."""
    from ..data.files.inputs import CLOUD_ENDINGS

    given: list[Path] = options.photos
    if len(given) > 1 or given[0].is_dir():
        _lift_many(options)
        return
    out: Path = options.out or given[0].with_suffix(f".{options.format or 'ply'}")
    if options.format and out.suffix.lower() != f".{options.format}":
        raise ValueError(f"--format is for folders; the ending of {out} says it here")
    if out.suffix.lower() not in CLOUD_ENDINGS:
        raise ValueError(f"--out must end in .ply, .npz or .obj for one image; got {out}")
    check_out(out)
    list_files(given, (), skip=False)

    from meshes import write_pointcloud

    from ..api import lift

    cloud = lift(given[0])
    write_pointcloud(out, cloud)
    print(f"{out}: {len(cloud)} points, {len(cloud.seen())} of them seen on the body")


def _lift_many(options: argparse.Namespace) -> None:
    from ..data.files.image_files import image_endings
    from ..pipelines.lift_files import LIFT_TABLE, lift_files, lift_targets
    from .progress import progress_bar

    if options.out is None:
        raise ValueError("--out must be given for many images: the folder of their clouds")
    check_out(options.out, folder=True)
    inputs, missing = list_files(options.photos, image_endings, skip=options.skip)
    ending = f".{options.format or 'ply'}"
    lift_targets(inputs, ending)  # refuses before the work
    with progress_bar("lifting images") as show:
        done = lift_files(
            inputs,
            options.out,
            ending=ending,
            workers=options.workers,
            progress=lambda done, total: show(done, total, ""),
        )
    made = len(done.rows) - len(done.failures)
    before = f", {done.kept:,} of them by an earlier run" if done.kept else ""
    print(f"{options.out}: {made:,} clouds{before}; listed in {options.out / LIFT_TABLE}")
    report_failures(
        [*missing, *done.failures],
        len(done.rows) + len(missing),
        made=made,
        warnings=done.warnings,
        report=options.out / "failures.csv",
        skip=options.skip,
    )


def do_embed(options: argparse.Namespace) -> None:
    """Writes the embeddings of clouds and images."""
    import numpy as np

    from pose.files.atomic_write import atomic_write

    from ..data.files.image_files import image_endings
    from ..data.files.inputs import CLOUD_ENDINGS, portable_name
    from ..inference.pretrained import load_model
    from ..pipelines.embed_files import embed_files, holds_embeddings
    from .progress import progress_bar

    # The model first: its mistakes are found before minutes of lifting.
    check_out(options.out)
    stored = load_model(options.model)
    inputs, missing = list_files(
        options.inputs, image_endings, CLOUD_ENDINGS, skip=options.skip, check=_not_embedded
    )
    own = [each for each in inputs if each.listed and holds_embeddings(each.path)]
    if own and not (inputs := [each for each in inputs if each not in own]):
        raise ValueError(f"{own[0].path} holds embeddings (og-reid embed wrote it), no point cloud")
    if any(_same(each.path, options.out) for each in inputs):
        raise ValueError(f"--out {options.out} is one of the inputs: give another name")
    with progress_bar("embedding") as show:
        done = embed_files(
            [each.path for each in inputs],
            stored,
            workers=options.workers,
            cache=options.cache,
            progress=lambda done, total: show(done, total, ""),
        )
    features = done.features.numpy()
    if len(features):
        with atomic_write(options.out) as partial, partial.open("wb") as file:
            names = np.array([portable_name(name) for name in done.names])
            np.savez(file, features=features, names=names)
        print(f"{options.out}: {len(features)} embeddings of {features.shape[1]} numbers")
    if len(features) == 2:
        print(f"similarity: {float(features[0] @ features[1]):.3f} (1 = the same cloud)")
    report_failures(
        [*missing, *done.failures],
        len(inputs) + len(missing),
        made=len(features),
        warnings=done.warnings,
        report=options.out.with_suffix(".failures.csv"),
        skip=options.skip,
    )


def _not_embedded(each: Input) -> str | None:
    """Why a file can be neither lifted nor embedded."""
    from ..data.files.image_files import image_endings
    from ..data.files.inputs import CLOUD_ENDINGS
    from ..pipelines.embed_files import holds_embeddings

    if each.path.suffix.lower() not in image_endings() | CLOUD_ENDINGS:
        return (
            f"is neither a cloud ({', '.join(sorted(CLOUD_ENDINGS))}) nor a photograph "
            f"({', '.join(sorted(image_endings()))}): convert it"
        )
    if not each.listed and holds_embeddings(each.path):
        return (
            "holds embeddings (og-reid embed wrote it), no point cloud: give the images or clouds "
            "that they are of"
        )
    return None


def _same(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)


def do_convert(options: argparse.Namespace) -> None:
    """Makes a store of a tree of the authors' clouds."""
    from ..data.clouds.convert_market3d import convert_market3d
    from .progress import progress_bar

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
    from .doctor import examine

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
