"""The command ``og-reid``: arguments in, functions called, results told."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import WorldConfig
    from .data import CloudSet, MarketSplits, Sample
    from .train import Record

__all__ = ["main"]

_IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
_DONE, _FAILED, _INTERRUPTED = 0, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: What follows ``og-reid``; None takes it from the process.

    Returns:
        0 when it went well, 1 when it could not be done, 130 when it was interrupted. Wrong usage
        ends the process with 2.
    """
    options = _parse(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("og-reid: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if options.debug:
            raise
        print(f"og-reid: {error}", file=sys.stderr)
        return _FAILED
    return _DONE


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    # argparse takes KEY=VALUE right after CONFIG only; behind the options they mean the same.
    settings = [each for each in rest if "=" in each and not each.startswith("-")]
    if rest and (settings != rest or not hasattr(options, "settings")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if settings:
        options.settings += settings
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="og-reid",
        description="Find people again: lift photographs to coloured 3D point clouds, "
        "embed them, and rank them.",
        epilog="Start with: og-reid demo",
    )
    parser.add_argument("--version", action=_Version, help="show the version and stop")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (_add_demo, _add_lift, _add_embed, _add_train, _add_evaluate):
        command = add(commands)
        command.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser


class _Version(argparse.Action):
    """Reads the version only when it is asked for: it needs the package's metadata."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from .checkpoint import package_version

        print(f"og-reid {package_version()}")
        parser.exit()


_Commands = argparse._SubParsersAction


def _command(
    commands: _Commands[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], None],
    summary: str,
    description: str,
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=description
    )
    command.set_defaults(run=run)
    return command


def _add_demo(commands: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        commands,
        "demo",
        _demo,
        "see everything work, in a few minutes and without data",
        "Lifts a photograph, makes a world of people, trains on it, finds them again, and writes "
        "a report to look at in a browser.",
    )
    command.add_argument(
        "--image", type=Path, metavar="PHOTO", help="your own photograph of one person"
    )
    command.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="FOLDER",
        help="where the report goes (default: %(default)s)",
    )  # fmt: skip
    _add_workers(command)
    return command


def _add_lift(commands: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        commands,
        "lift",
        _lift,
        "turn a photograph of a person into a point cloud",
        "Estimates the pose of the person in a photograph, fits a body to it and colours its "
        "points.",
    )
    command.add_argument("photo", type=Path, metavar="PHOTO", help="image of one person")
    command.add_argument(
        "--out", type=Path, metavar="FILE",
        help="cloud to write, .ply or .npz (default: the photo's name with .ply)",
    )  # fmt: skip
    return command


def _add_embed(commands: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        commands,
        "embed",
        _embed,
        "turn clouds or photographs into descriptors",
        "Writes one unit vector per input; the dot product of two says how alike they are. "
        "Photographs are lifted first.",
    )
    command.add_argument(
        "inputs", type=Path, nargs="+", metavar="INPUT", help="clouds (.ply, .npz) or photographs"
    )
    _add_model(command)
    command.add_argument(
        "--out", type=Path, default=Path("features.npz"), metavar="FILE",
        help="file with the arrays `features` (n, D) and `names` (n) (default: %(default)s)",
    )  # fmt: skip
    return command


def _add_train(commands: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        commands,
        "train",
        _train,
        "train a model",
        "Trains OG-Net on the training people of a data set and writes model.safetensors.",
    )
    command.add_argument(
        "config", metavar="CONFIG",
        help="YAML file, or the name of one in the package: synthetic/og_net_small, "
        "synthetic/default",
    )  # fmt: skip
    command.add_argument(
        "settings", nargs="*", metavar="KEY=VALUE",
        help="settings that replace those of the file, such as optim.lr=0.001",
    )  # fmt: skip
    command.add_argument(
        "--data", type=Path, metavar="DATA",
        help="folder laid out like Market-1501 (its test images then validate), or a cloud set "
        "(.safetensors); without it the run makes the synthetic world that CONFIG asks for",
    )  # fmt: skip
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where the run is written"
    )
    command.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in --out"
    )
    _add_lifting(command)
    return command


def _add_evaluate(commands: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        commands,
        "evaluate",
        _evaluate,
        "score a model on a data set",
        "Ranks the gallery for every query by the model, by a colour histogram baseline, and by "
        "both together. Occluded queries are scored apart where attributes.csv tells them.",
    )
    command.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER",
        help="folder laid out like Market-1501",
    )  # fmt: skip
    _add_model(command)
    command.add_argument(
        "--mirror", action="store_true", help="average each descriptor with the mirror image's"
    )
    command.add_argument(
        "--ap", choices=("step", "trapezoid"), default="step",
        help="how average precision is computed (default: %(default)s)",
    )  # fmt: skip
    _add_lifting(command)
    return command


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", default="default", metavar="MODEL",
        help="'default' for the weights in the package, or a .safetensors file written by "
        "og-reid train (default: %(default)s)",
    )  # fmt: skip


def _add_workers(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N",
        help="processes that make and lift photographs (default: %(default)s)",
    )  # fmt: skip


def _add_lifting(command: argparse.ArgumentParser) -> None:
    _add_workers(command)
    command.add_argument(
        "--cache", type=Path, default=_cache_folder(), metavar="FOLDER",
        help="where lifted clouds are kept for the next time (default: %(default)s)",
    )  # fmt: skip


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "og-reid"


def _demo(options: argparse.Namespace) -> None:
    from .demo import run_demo
    from .progress import progress_stages

    with progress_stages() as show:
        report = run_demo(options.out, options.image, workers=options.workers, progress=show)
    print(f"report: {report}")


def _lift(options: argparse.Namespace) -> None:
    from meshes import write_pointcloud

    from .api import lift

    out = options.out or options.photo.with_suffix(".ply")
    cloud = lift(options.photo)
    write_pointcloud(out, cloud)
    print(f"{out}: {len(cloud)} points, {len(cloud.seen())} of them seen on the body")


def _embed(options: argparse.Namespace) -> None:
    import numpy as np

    from pose.atomic import replacing

    from .api import embed, lift, load_model

    # The model first: its mistakes are found before minutes of lifting.
    stored = load_model(options.model)
    clouds = [lift(path) if path.suffix.lower() in _IMAGES else path for path in options.inputs]
    features = embed(clouds, stored).numpy()
    names = [str(path) for path in options.inputs]
    with replacing(options.out) as partial, partial.open("wb") as file:
        np.savez(file, features=features, names=np.array(names))
    print(f"{options.out}: {len(features)} descriptors of {features.shape[1]} numbers")
    if len(features) == 2:
        print(f"similarity: {float(features[0] @ features[1]):.3f} (1 = the same cloud)")


def _train(options: argparse.Namespace) -> None:
    from .config import WorldConfig, load_config
    from .data import CloudSet
    from .progress import progress_bar
    from .train import MODEL_FILE, train

    config = load_config(options.config, options.settings)
    validation = None
    if options.data is None:
        data = _world(config.world, options)
    else:
        data = options.data
        config = replace(config, world=WorldConfig())  # the model's file says what it was made of
    if data.is_file():
        train_set = CloudSet.load(data)
    else:
        splits = _splits(data)
        train_set = _lifted(splits.train, "lifting training images", options)
        validation = _lifted_test(splits, options)
    with progress_bar("training") as show:

        def tell(record: Record) -> None:
            note = f"step {record.step}, loss {record.loss:.3f}, accuracy {record.accuracy:.2f}"
            if record.mAP is not None:
                note += f", validation mAP {record.mAP:.3f}"
            show(record.fraction, 1.0, note)

        result = train(
            config,
            train_set,
            out_dir=options.out,
            validation=validation,
            progress=tell,
            resume=options.resume,
        )
    print(f"model: {options.out / MODEL_FILE}")
    if result.validation is not None:
        metrics = result.validation
        print(f"validation: rank-1 {100 * metrics.rank(1):.1f} %, mAP {100 * metrics.mAP:.1f} %")


def _evaluate(options: argparse.Namespace) -> None:
    from .api import load_model
    from .comparison import compare, format_table
    from .data import read_attributes
    from .progress import progress_bar

    stored = load_model(options.model)
    splits = _splits(options.data)
    attributes = read_attributes(options.data)
    query, gallery = _lifted_test(splits, options)
    with progress_bar("embedding") as show:
        rows = compare(
            query,
            gallery,
            {str(options.model): stored},
            attributes={name: each for name, each in attributes.items() if each.split == "query"},
            mirror=options.mirror,
            ap=options.ap,
            progress=lambda done, total: show(done, total, ""),
        )
    print(format_table(rows))


def _world(plan: WorldConfig, options: argparse.Namespace) -> Path:
    """Makes the world of a configuration beside the run, or finds it there."""
    from meshes.world import write_world

    from .progress import progress_bar

    if not plan.train_identities:
        raise ValueError(
            "--data must be given: this configuration has no synthetic world of its own "
            "(world.train_identities is 0)"
        )
    with progress_bar("making a world") as show:
        return write_world(
            options.out / "world",
            **asdict(plan),
            workers=options.workers,
            progress=lambda done, total: show(done, total, ""),
        )


def _splits(folder: Path) -> MarketSplits:
    from .data import load_market

    return load_market(folder)


def _lifted_test(splits: MarketSplits, options: argparse.Namespace) -> tuple[CloudSet, CloudSet]:
    return (
        _lifted(splits.query, "lifting queries", options),
        _lifted(splits.gallery, "lifting gallery", options),
    )


def _lifted(samples: Sequence[Sample], title: str, options: argparse.Namespace) -> CloudSet:
    from .lifting import lift_split
    from .progress import progress_bar

    with progress_bar(title) as show:
        return lift_split(
            samples,
            workers=options.workers,
            progress=lambda done, total: show(done, total, ""),
            cache=options.cache,
        )


if __name__ == "__main__":
    sys.exit(main())
