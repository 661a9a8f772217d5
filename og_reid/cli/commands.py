"""Commands of ``og-reid``, in the order of its help; `og_reid.cli.actions` runs them."""

from __future__ import annotations

from pathlib import Path

from .options import (
    DATASET,
    ESTIMATOR,
    KEYPOINTS,
    LIFTING,
    MODEL,
    RUN_FOLDER,
    SKIP,
    TRUST,
    cache,
    choice,
    config,
    descriptor,
    existing_image,
    path,
    settings,
    workers,
)  # fmt: skip
from .parser import Command, option

__all__ = ["COMMANDS"]

# fmt: off
_DATA = (
    Command("demo", "see everything work, in about five minutes and without data",
        "Lifts an image, makes a synthetic data set, trains on it, searches it, and writes a "
        "report to look at in a browser. About six minutes of processor time, four to five on the "
        "clock with two idle cores; longer where others work, with the same metrics. A run that "
        "was stopped goes on where it was when it is started again.",
        path("--image", "your own image of one person", "IMAGE"),
        path("--out", "where the report goes (default: %(default)s)", "FOLDER",
            default=Path("runs/demo")),
        workers()),
    Command("lift", "turn images of a person into point clouds",
        "Estimates the pose of the person in an image, fits a body to it and colours its points. "
        "Of a folder, or of many images, a folder of clouds is made that mirrors theirs, with a "
        "table lift.csv; started again, it goes on where it was.",
        option("images", "images of one person each, or folders of them", type=existing_image,
            nargs="+", metavar="IMAGE"),
        path("--out", "of one image: cloud to write, .ply, .npz or .obj (default: the image's "
            "name with .ply); of many: folder to write"),
        choice("--format", "of many clouds (default: ply)", ("ply", "npz", "obj")),
        SKIP,
        workers("processes that lift")),
)
_MODELS = (
    Command("embed", "turn clouds or images into embeddings",
        "Writes one embedding per input, in the order given, those of a folder by name: a unit "
        "vector, whose dot product with another is their similarity, or features of parts, where "
        "the model has them. For models of clouds images are lifted first; what is lifted is kept, "
        "so that a run that was stopped goes on where it was.",
        path("inputs", "clouds (.ply, .npz, .obj), images, and folders: of their images, or of "
            "their clouds where they have no images", "INPUT", nargs="+"),
        MODEL,
        path("--out", "file with the arrays `names`, `features` (n, D) (models of parts alone have "
            "none), and of parts `parts`, `visibility` (default: %(default)s); failures: in FILE "
            "with the ending .failures.csv", "FILE", default=Path("features.npz")),
        SKIP, *LIFTING),
    Command("train", "train a model",
        "Trains OG-Net, or PGFA, on the training identities of a data set and writes "
        "model.safetensors.",
        config("synthetic/og_net_small, og_net/market_small or occluded_duke/pgfa"),
        settings("optim.lr=0.001"),
        path("--data", "folder laid out like Market-1501 or a store of og-reid pack (their test "
            "images then validate), or a cloud set (.safetensors); without it the run makes the "
            "synthetic world that CONFIG asks for", "DATA"),
        *DATASET,
        path("--unlabelled", "folder, or CSV file with the column path, of images without an "
            "identity to train with, too (loss.lsro, data.sampling=shuffle)"),
        RUN_FOLDER,
        option("--resume", "go on from the last checkpoint in --out"),
        option("--dist-timeout", "how long a process started by torchrun waits for the others "
            "(default: %(default)s)", type=float, default=1800.0, metavar="SECONDS"),
        *KEYPOINTS, *LIFTING),
    Command("fuse", "join a model of images and one of clouds",
        "Chooses how much a PGFA and an OG-Net count, on training identities that neither has "
        "learned from (trained with data.val_identities), and writes both as one run for og-reid "
        "evaluate.",
        config("occluded_duke/fusion"),
        path("first", "run, or model, of PGFA", "FIRST"),
        path("second", "run, or model, of clouds", "SECOND"),
        settings("cloud_weight=0.5"),
        path("--data", "what both were trained on; not needed where CONFIG gives both weights",
            "FOLDER"),
        *DATASET, RUN_FOLDER, *KEYPOINTS, *LIFTING),
    Command("info", "show what a run was made with, and how far it is",
        "Prints the settings, versions, source and seed of a training run, and its last metrics.",
        path("run_folder", "folder that og-reid train wrote, or a model or checkpoint in it",
            "RUN")),
    Command("evaluate", "score a model on a data set",
        "Ranks the gallery for every query by the model, by a colour histogram baseline, and by "
        "both together. Occluded queries are scored apart where attributes.csv names them; "
        "--slice-by scores others apart.",
        path("--data", "folder laid out like Market-1501, or a store of og-reid pack", "FOLDER",
            required=True),
        *DATASET, MODEL,
        option("--flip-tta", "average each embedding with the mirror image's", dest="mirror"),
        choice("--tta", "add the embedding of the cloud 1.1 times as large, as the OG-Net authors "
            "do (default: %(default)s)", ("none", "scale-1.1"), default="none", dest="test_view"),
        choice("--ap", "how average precision is computed (default: %(default)s)",
            ("step", "trapezoid"), default="step"),
        choice("--protocol", "which answers count: those of other cameras; those, in random "
            "galleries of one image an identity; all (default: %(default)s)",
            ("market", "single-gallery-shot", "unfiltered"), default="market"),
        choice("--slice-by", "score queries apart by: occlusion; visibility (quarters of the "
            "person seen); parts (body parts, or stripes, that are seen); yaw (turned how far from "
            "the best right answer); cameras (each in each other). All but parts and cameras need "
            "attributes.csv (default: occlusion, where it is known)",
            ("occlusion", "visibility", "parts", "yaw", "cameras"), nargs="+", metavar="WHAT",
            default=["occlusion"], dest="by"),
        choice("--rerank", "also score the model re-ranked: by k-reciprocal neighbours, in the "
            "original or a variant of the field, or by a graph of neighbours",
            ("original", "layumi", "fast-reid", "transreid", "gnn")),
        path("--out", "JSON with the metrics of every query, for og-reid compare", "FILE"),
        option("--features", "of PGFA's stripes: their means in the backbone's feature map, as its "
            "authors compare, or the codes of the heads, as their paper says (default: "
            "%(default)s)", type=descriptor, default="backbone", metavar="{backbone,head}",
            dest="descriptor"),
        *KEYPOINTS, *LIFTING),
    Command("compare", "print saved runs again, or compare two of them",
        "Prints what og-reid evaluate --out (or Metrics.to_json) wrote. With a second file: how "
        "much better that one is on the same queries, with a 95 % interval and a p-value.",
        path("first", "file of og-reid evaluate --out, or the folder of a run that such a file is "
            "in", "RUN"),
        path("other", "another one", "OTHER", nargs="?"),
        option("--details", "of one run: everything about each row, both conventions and intervals "
            "among it")),
)
_DATASETS = (
    Command("pack", "make a compact store of published .obj clouds",
        "Packs a tree <split>/<identity>/<image name>.obj of the OG-Net authors, such as "
        "3DMarket+bg, into a store that is small and read at random. A run that was stopped goes "
        "on where it was when it is started again.",
        path("source", "folder with the folders train, train_all, val, gallery, query, or some of "
            "them", "SOURCE_TREE"),
        path("out", "folder of the store", "OUT"),
        option("--splits", "pack only these (default: all there are)", nargs="+", metavar="SPLIT"),
        option("--points", "points that every cloud must have; 0 takes any number (default: "
            "%(default)s)", type=int, default=8192, metavar="N"),
        workers("processes that read and write")),
    Command("datasets", "list the data sets that can be read by name",
        "Lists the data sets that --dataset takes. None is downloaded.",
        path("--root", "folder of data sets: show which are there, and whether their numbers are "
            "right", "DIR")),
    Command("check", "verify a data set",
        "Compares the numbers of images and identities with the published ones, and opens every "
        "file to find damaged ones and ones that are there twice.",
        option("dataset", "a name of og-reid datasets", metavar="DATASET"),
        path("--data", "its folder, or the CSV file", required=True),
        *TRUST),
    Command("prepare", "build Occluded-Duke from DukeMTMC-reID",
        "Builds Occluded-DukeMTMC from DukeMTMC-reID and the three lists of its authors, which are "
        "verified. A run that was stopped goes on where it was when it is started again.",
        choice("what", "the data set to build", ("occluded-duke",)),
        path("--duke", "DukeMTMC-reID, as a .zip file or unpacked (hard links are made then, where "
            "possible)", required=True),
        path("--lists", "folder with train.list, query.list and gallery.list", "DIR",
            required=True),
        path("--out", "folder to build", "DIR", required=True)),
    Command("pose", "estimate the poses of people in images",
        "Writes the keypoints of the people in each image: the one that it is about first, then "
        "the others. What was estimated before is remembered.",
        path("images", "images, or folders of them", "IMAGES", nargs="+"),
        SKIP, *ESTIMATOR,
        choice("--format", "alphapose: one list; coco: one file, which has flags in place of "
            "scores; sep-json: a folder with a file per image, as PGFA reads them (default: "
            "%(default)s)", ("alphapose", "coco", "sep-json"), default="alphapose"),
        path("--out", "file, or folder, to write", required=True),
        cache("estimated poses")),
    Command("cache", "list, measure or clear what is kept of images",
        "Lifted clouds and estimated poses are kept, an entry for each image and setting, known by "
        "the image's content.",
        choice("action", "list: entries by kind and settings; size: of all; forget: remove all "
            "entries of images; clear: remove all entries", ("list", "size", "forget", "clear")),
        option("images", "of forget: image files, or names of entries as list --entries shows them",
            nargs="*", metavar="IMAGE"),
        option("--entries", "of list: show every entry"),
        option("--old", "of clear: only clouds of other versions of og-reid, which this one does "
            "not use"),
        cache("lifted clouds and estimated poses")),
    Command("doctor", "show what is installed, and what is wrong with it",
        "Prints versions, native kernels with their instruction level, devices, and how to mend "
        "what does not work."),
)
# fmt: on
#: All, in the order of the help.
COMMANDS = (*_DATA, *_MODELS, *_DATASETS)
