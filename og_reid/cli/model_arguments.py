"""What the commands of models may be asked: train, fuse, show, embed, evaluate and compare them."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import bulk, commands, evaluation, fusing, options, photos, scoring, training
from .options import Commands

__all__ = [
    "add_compare",
    "add_embed",
    "add_evaluate",
    "add_fuse",
    "add_show",
    "add_train",
]


def add_train(parsers: Commands) -> argparse.ArgumentParser:
    """``og-reid train``."""
    command = options.add_command(
        parsers,
        "train",
        training.do_train,
        "train a model",
        "Trains OG-Net, or PGFA, on the training people of a data set and writes "
        "model.safetensors.",
    )
    options.add_config(command, "synthetic/og_net_small, og_net/market_small or occluded_duke/pgfa")
    options.add_settings(command, "optim.lr=0.001")
    command.add_argument(
        "--data", type=Path, metavar="DATA",
        help="folder laid out like Market-1501 or a store of og-reid convert (their test images "
        "then validate), or a cloud set (.safetensors); without it the run makes the synthetic "
        "world that CONFIG asks for",
    )  # fmt: skip
    options.add_dataset(command)
    command.add_argument(
        "--generated", type=Path, metavar="PATH",
        help="folder, or CSV file with the column path, of images of nobody in particular to train "
        "with, too (loss.lsro, data.sampling=shuffle)",
    )  # fmt: skip
    options.add_run_folder(command)
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


def add_fuse(parsers: Commands) -> argparse.ArgumentParser:
    """``og-reid fuse``."""
    command = options.add_command(
        parsers,
        "fuse",
        fusing.do_fuse,
        "join a model of photographs and one of clouds",
        "Chooses how much a PGFA and an OG-Net count, on training people that neither has learned "
        "from (trained with data.hold_out), and writes both as one run for og-reid evaluate.",
    )
    options.add_config(command, "occluded_duke/fusion")
    command.add_argument("first", type=Path, metavar="FIRST", help="run, or model, of PGFA")
    command.add_argument("second", type=Path, metavar="SECOND", help="run, or model, of clouds")
    options.add_settings(command, "second=0.5")
    command.add_argument(
        "--data", type=Path, metavar="FOLDER",
        help="what both were trained on; not needed where CONFIG gives both weights",
    )  # fmt: skip
    options.add_dataset(command)
    options.add_run_folder(command)
    photos.add_keypoints(command)
    options.add_lifting(command)
    return command


def add_show(parsers: Commands) -> argparse.ArgumentParser:
    """``og-reid show``."""
    command = options.add_command(
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


def add_embed(parsers: Commands) -> argparse.ArgumentParser:
    """``og-reid embed``."""
    command = options.add_command(
        parsers,
        "embed",
        commands.do_embed,
        "turn clouds or images into embeddings",
        "Writes one unit vector per input, in the order given, those of a folder by name; the dot "
        "product of two says how alike they are. Images are lifted first; what is lifted is kept, "
        "so that a run that was stopped goes on where it was.",
    )
    command.add_argument(
        "inputs", type=Path, nargs="+", metavar="INPUT",
        help="clouds (.ply, .npz, .obj), images, and folders: of their images, or of their clouds "
        "where they have no images",
    )  # fmt: skip
    options.add_model(command)
    command.add_argument(
        "--out", type=Path, default=Path("features.npz"), metavar="FILE",
        help="file with the arrays `features` (n, D) and `names` (n) (default: %(default)s); "
        "inputs that failed are in FILE with the ending .failures.csv",
    )  # fmt: skip
    bulk.add_skip(command)
    options.add_lifting(command)
    return command


def add_evaluate(parsers: Commands) -> argparse.ArgumentParser:
    """``og-reid evaluate``."""
    command = options.add_command(
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
    scoring.add_scoring(command)
    command.add_argument(
        "--descriptor", choices=("raw", "code"), default="raw",
        help="of PGFA's stripes: their means, as its authors compare, or the codes of the heads, "
        "as their paper says (default: %(default)s)",
    )  # fmt: skip
    photos.add_keypoints(command)
    options.add_lifting(command)
    return command


def add_compare(parsers: Commands) -> argparse.ArgumentParser:
    """``og-reid compare``."""
    command = options.add_command(
        parsers,
        "compare",
        evaluation.do_compare,
        "print saved runs again, or compare two of them",
        "Prints what og-reid evaluate --out (or Metrics.to_json) wrote. With a second file: how "
        "much better that one is on the same queries, with a 95 % interval and a p-value.",
    )
    evaluation.add_runs(command)
    return command
