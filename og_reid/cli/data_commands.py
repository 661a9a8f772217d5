"""Commands of data: a typed specification, one call, what came of it printed."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields

from ..pipelines.input_files import check_exists, report_failures
from .options import data_spec
from .progress import progress_stages

__all__ = [
    "do_cache",
    "do_check",
    "do_datasets",
    "do_demo",
    "do_doctor",
    "do_lift",
    "do_pack",
    "do_pose",
    "do_prepare",
]


def do_demo(options: argparse.Namespace) -> None:
    """Makes the report of the demonstration."""
    check_exists(options.image, "give --image an image of one person")

    from ..pipelines.demo import run_demo

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
    from ..pipelines.lifting import LiftSpec, lift_file, lift_folder

    spec = LiftSpec(
        options.images, options.out, options.format, options.skip, workers=options.workers
    )
    if spec.single:
        out, cloud = lift_file(spec)
        print(f"{out}: {len(cloud)} points, {len(cloud.seen())} of them seen on the body")
        return
    with progress_stages() as show:
        done = lift_folder(spec, show)
    before = f", {done.kept:,} of them by an earlier run" if done.kept else ""
    print(f"{done.out}: {done.made:,} clouds{before}; listed in {done.table}")
    report_failures(done, skip=spec.skip)


def do_pose(options: argparse.Namespace) -> None:
    """Writes the keypoints of the people in images."""
    from ..pipelines.poses import PoseSpec, estimate_poses

    names = [each.name for each in fields(PoseSpec) if hasattr(options, each.name)]
    with progress_stages() as show:
        done = estimate_poses(PoseSpec(**{name: getattr(options, name) for name in names}), show)
    print(f"{done.out}: people in {done.found:,} of {done.made:,} images")
    report_failures(done, skip=options.skip)


def do_pack(options: argparse.Namespace) -> None:
    """Makes a store of a tree of the authors' clouds."""
    from ..pipelines.packing import PackSpec, pack_clouds

    names = ("source", "out", "splits", "points", "workers")
    with progress_stages() as show:
        done = pack_clouds(PackSpec(**{name: getattr(options, name) for name in names}), show)
    count = sum(done.clouds.values())
    splits = ", ".join(f"{split} {number}" for split, number in done.clouds.items())
    print(f"{options.out}: {count} clouds ({splits})")
    print(
        f"{done.shards} shards, {done.kept} of them found finished; {done.bytes / 1e6:.1f} MB, "
        f"{done.bytes / count / 1e3:.1f} kB a cloud"
    )


def do_datasets(options: argparse.Namespace) -> None:
    """Lists the data sets that are known, and what a folder holds of them."""
    from ..pipelines.datasets import describe_datasets

    with progress_stages() as show:
        lines = describe_datasets(options.root, show)
    print("\n".join(lines))
    if options.root is None:
        print("og-reid datasets --root DIR shows which of them are in DIR")


def do_check(options: argparse.Namespace) -> None:
    """Compares a data set with its published numbers and opens all its files."""
    from ..pipelines.datasets import check_dataset

    with progress_stages() as show:
        check = check_dataset(data_spec(options), show)
    print("\n".join(check.lines()))
    check.raise_problems(verify=not options.no_verify)


def do_prepare(options: argparse.Namespace) -> None:
    """Builds Occluded-Duke."""
    from ..pipelines.datasets import PrepareSpec, prepare_occluded_duke

    with progress_stages() as show:
        spec = PrepareSpec(options.duke, options.lists, options.out)
        built = prepare_occluded_duke(spec, show)
    counts = ", ".join(f"{folder} {count:,}" for folder, count in built.images.items())
    print(f"{built.root}: {counts}; {built.kept:,} were there already")


def do_cache(options: argparse.Namespace) -> None:
    """Lists, measures, forgets or clears."""
    from ..data.clouds.cache_folder import cache_groups, clear_cache, forget_images
    from ..pipelines.cache_report import format_forgotten, format_group, format_total

    if bool(options.images) != (options.action == "forget"):
        raise ValueError(
            "og-reid cache forget needs at least one IMAGE"
            if options.action == "forget"
            else f"og-reid cache {options.action} takes no IMAGE; got {options.images[0]}"
        )
    folder = data_spec(options).cache_folder
    if options.action == "forget":
        for each in forget_images(folder, options.images):
            print(format_forgotten(each))
    elif options.action == "clear":
        print(f"{folder}: removed {format_total(clear_cache(folder, old=options.old))}")
    else:
        groups = cache_groups(folder)
        for group in groups if options.action == "list" else ():
            print(format_group(group, entries=options.entries))
        print(f"{folder}: {format_total(groups)}")


def do_doctor(_: argparse.Namespace) -> None:
    """Prints what this installation consists of; fails when something is wrong with it."""
    from ..pipelines import doctor

    results = doctor.run_checks()
    topic = ""
    for result in results:
        if result.topic != topic:
            topic = result.topic
            print(topic)
        print(f"  {'ok ' if result.good else 'BAD'} {result}")
    bad = [result.name for result in results if not result.good]
    if bad:
        raise RuntimeError(f"something is wrong with: {', '.join(bad)}")
