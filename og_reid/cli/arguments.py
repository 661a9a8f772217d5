"""What ``og-reid`` may be asked, and which function of `commands` answers it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from . import commands, datasets, evaluation, fusing, options, photos, training

__all__ = ["parse"]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command, with the function to call in ``run``.

    Args:
        arguments: What follows ``og-reid``; None takes it from the process.
    """
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    # argparse takes KEY=VALUE right after CONFIG only; behind the options they mean the same.
    settings = [each for each in rest if "=" in each and not each.startswith("-")]
    wrong = [each for each in rest if each not in settings or not hasattr(given, "settings")]
    if wrong:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    if settings:
        given.settings += settings
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="og-reid",
        description="Find people again: lift photographs to coloured 3D point clouds, "
        "embed them, and rank them.",
        epilog="Start with: og-reid demo",
    )
    parser.add_argument("--version", action=_Version, help="show the version and stop")
    parsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (
        _add_demo,
        _add_lift,
        _add_embed,
        _add_train,
        _add_fuse,
        _add_show,
        _add_evaluate,
        _add_compare,
        _add_convert,
        _add_datasets,
        _add_check,
        _add_prepare,
        _add_pose,
        _add_doctor,
    ):
        command = add(parsers)
        command.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser


class _Version(argparse.Action):
    """Reads the version only when it is asked for: it needs the package's metadata."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ..checkpoint import package_version

        print(f"og-reid {package_version()}")
        parser.exit()


_Commands = argparse._SubParsersAction


def _command(
    parsers: _Commands[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], None],
    summary: str,
    description: str,
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = parsers.add_parser(
        name, help=summary, description=description
    )
    command.set_defaults(run=run)
    return command


def _add_demo(parsers: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        parsers,
        "demo",
        commands.do_demo,
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
    options.add_workers(command)
    return command


def _add_lift(parsers: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        parsers,
        "lift",
        commands.do_lift,
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


def _add_embed(parsers: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        parsers,
        "embed",
        commands.do_embed,
        "turn clouds or photographs into descriptors",
        "Writes one unit vector per input; the dot product of two says how alike they are. "
        "Photographs are lifted first.",
    )
    command.add_argument(
        "inputs", type=Path, nargs="+", metavar="INPUT", help="clouds (.ply, .npz) or photographs"
    )
    options.add_model(command)
    command.add_argument(
        "--out", type=Path, default=Path("features.npz"), metavar="FILE",
        help="file with the arrays `features` (n, D) and `names` (n) (default: %(default)s)",
    )  # fmt: skip
    return command


def _add_train(parsers: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        parsers,
        "train",
        training.do_train,
        "train a model",
        "Trains OG-Net, or PGFA, on the training people of a data set and writes "
        "model.safetensors.",
    )
    command.add_argument(
        "config", metavar="CONFIG",
        help="YAML file, or the name of one in the package: synthetic/og_net_small, "
        "og_net/market_small, occluded_duke/pgfa",
    )  # fmt: skip
    command.add_argument(
        "settings", nargs="*", default=[], metavar="KEY=VALUE",
        help="settings that replace those of the file, such as optim.lr=0.001",
    )  # fmt: skip
    command.add_argument(
        "--data", type=Path, metavar="DATA",
        help="folder laid out like Market-1501 or a store of og-reid convert (their test images "
        "then validate), or a cloud set (.safetensors); without it the run makes the synthetic "
        "world that CONFIG asks for",
    )  # fmt: skip
    options.add_dataset(command)
    command.add_argument(
        "--generated", type=Path, metavar="FOLDER",
        help="images of nobody in particular to train with, too (loss.lsro, data.sampling=shuffle)",
    )  # fmt: skip
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where the run is written"
    )
    command.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in --out"
    )
    command.add_argument(
        "--patience", type=float, default=1800.0, metavar="SECONDS",
        help="how long a process started by torchrun waits for the others (default: %(default)s)",
    )  # fmt: skip
    photos.add_keypoints(command)
    options.add_lifting(command)
    return command


def _add_fuse(parsers: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        parsers,
        "fuse",
        fusing.do_fuse,
        "join a model of photographs and one of clouds",
        "Chooses how much a PGFA and an OG-Net count, on training people that neither has learned "
        "from (trained with data.hold_out), and writes both as one run for og-reid evaluate.",
    )
    command.add_argument(
        "config", metavar="CONFIG",
        help="YAML file, or the name of one in the package, such as occluded_duke/fusion",
    )  # fmt: skip
    command.add_argument("first", type=Path, metavar="FIRST", help="run, or model, of PGFA")
    command.add_argument("second", type=Path, metavar="SECOND", help="run, or model, of clouds")
    command.add_argument(
        "settings", nargs="*", default=[], metavar="KEY=VALUE",
        help="settings that replace those of the file, such as second=0.5",
    )  # fmt: skip
    command.add_argument(
        "--data", type=Path, metavar="FOLDER",
        help="what both were trained on; not needed where CONFIG gives both weights",
    )  # fmt: skip
    options.add_dataset(command)
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where the run is written"
    )
    photos.add_keypoints(command)
    options.add_lifting(command)
    return command


def _add_show(parsers: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        parsers,
        "show",
        training.do_show,
        "tell what a run was made with, and how far it is",
        "Prints the settings, versions, source and seed of a training run, and its last figures.",
    )
    command.add_argument(
        "run_folder", type=Path, metavar="RUN",
        help="folder that og-reid train wrote, or a model or checkpoint in it",
    )  # fmt: skip
    return command


def _add_evaluate(parsers: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        parsers,
        "evaluate",
        evaluation.do_evaluate,
        "score a model on a data set",
        "Ranks the gallery for every query by the model, by a colour histogram baseline, and by "
        "both together. Occluded queries are scored apart where attributes.csv tells them; --by "
        "scores others apart.",
    )
    command.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER",
        help="folder laid out like Market-1501, or a store of og-reid convert",
    )  # fmt: skip
    options.add_dataset(command)
    options.add_model(command)
    command.add_argument(
        "--mirror", action="store_true", help="average each descriptor with the mirror image's"
    )
    command.add_argument(
        "--test-view", choices=("none", "scale-1.1"), default="none",
        help="add the descriptor of the cloud 1.1 times as large, as the OG-Net authors do "
        "(default: %(default)s)",
    )  # fmt: skip
    evaluation.add_scoring(command)
    command.add_argument(
        "--descriptor", choices=("raw", "code"), default="raw",
        help="of PGFA's stripes: their means, as its authors compare, or the codes of the heads, "
        "as their paper says (default: %(default)s)",
    )  # fmt: skip
    photos.add_keypoints(command)
    options.add_lifting(command)
    return command


def _add_compare(parsers: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        parsers,
        "compare",
        evaluation.do_compare,
        "print saved runs again, or compare two of them",
        "Prints what og-reid evaluate --out (or Metrics.to_json) wrote. With a second file: how "
        "much better that one is on the same queries, with a 95 % interval and a p-value.",
    )
    evaluation.add_runs(command)
    return command


def _add_convert(parsers: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        parsers,
        "convert",
        commands.do_convert,
        "make a compact store of published .obj clouds",
        "Converts a tree <split>/<identity>/<image name>.obj of the OG-Net authors, such as "
        "3DMarket+bg, into a store that is small and read at random. A run that was stopped goes "
        "on where it was when it is started again.",
    )
    command.add_argument(
        "source", type=Path, metavar="SOURCE_TREE",
        help="folder with the folders train, train_all, val, gallery, query, or some of them",
    )  # fmt: skip
    command.add_argument("out", type=Path, metavar="OUT", help="folder of the store")
    command.add_argument(
        "--splits", nargs="+", metavar="SPLIT", help="convert only these (default: all there are)"
    )
    command.add_argument(
        "--points", type=int, default=8192, metavar="N",
        help="points that every cloud must have; 0 takes any number (default: %(default)s)",
    )  # fmt: skip
    options.add_workers(command, "processes that read and write")
    return command


def _add_datasets(parsers: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        parsers,
        "datasets",
        datasets.do_datasets,
        "list the data sets that can be read by name",
        "Lists the data sets that --dataset takes. None is downloaded.",
    )
    command.add_argument(
        "--root", type=Path, metavar="DIR",
        help="folder of data sets: show which are there, and whether their numbers are right",
    )  # fmt: skip
    return command


def _add_check(parsers: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        parsers,
        "check",
        datasets.do_check,
        "verify a data set",
        "Compares the numbers of images and people with the published ones, and opens every file "
        "to find damaged ones and ones that are there twice.",
    )
    command.add_argument("dataset", metavar="DATASET", help="a name of og-reid datasets")
    command.add_argument(
        "--data", type=Path, required=True, metavar="PATH", help="its folder, or the CSV file"
    )
    options.add_trust(command)
    return command


def _add_prepare(parsers: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        parsers,
        "prepare",
        datasets.do_prepare,
        "build Occluded-Duke from DukeMTMC-reID",
        "Builds Occluded-DukeMTMC from DukeMTMC-reID and the three lists of its authors, which are "
        "verified. A run that was stopped goes on where it was when it is started again.",
    )
    command.add_argument("what", choices=["occluded-duke"], help="the data set to build")
    command.add_argument(
        "--duke", type=Path, required=True, metavar="PATH",
        help="DukeMTMC-reID, as a .zip file or unpacked (hard links are made then, where possible)",
    )  # fmt: skip
    command.add_argument(
        "--lists", type=Path, required=True, metavar="DIR",
        help="folder with train.list, query.list and gallery.list",
    )  # fmt: skip
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to build")
    return command


def _add_pose(parsers: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    command = _command(
        parsers,
        "pose",
        photos.do_pose,
        "estimate the poses of people in photographs",
        "Writes the keypoints of the people in each photograph: who it is about first, then the "
        "others. What was estimated before is remembered.",
    )
    command.add_argument(
        "images", type=Path, metavar="IMAGES", help="photograph, or folder of them"
    )
    photos.add_estimator(command)
    command.set_defaults(keypoints=None)
    command.add_argument(
        "--format", choices=("alphapose", "coco", "sep-json"), default="alphapose",
        help="alphapose: one list; coco: one file, which has flags in place of scores; sep-json: a "
        "folder with a file per photograph, as PGFA reads them (default: %(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="file, or folder, to write"
    )
    options.add_cache(command, "estimated poses")
    return command


def _add_doctor(parsers: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    return _command(
        parsers,
        "doctor",
        commands.do_doctor,
        "show what is installed, and what is wrong with it",
        "Prints versions, native kernels with their instruction level, devices, and how to mend "
        "what does not work.",
    )
