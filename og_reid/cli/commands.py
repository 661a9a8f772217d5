"""Commands of ``og-reid``, in the order of its help; `og_reid.cli.actions` runs them."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from ..pipelines.gallery import GalleryAction
from .options import (
    DATASET,
    ESTIMATOR,
    KEYPOINTS,
    LIFTING,
    MODEL,
    POSE,
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
    Command("demo", "run a demonstration, in about four minutes and without data",
        "Lifts an image, renders a synthetic data set, trains and evaluates on it, and writes an "
        "HTML report. About five minutes of processor time, or about four minutes on two idle "
        "cores. Resumable: the same command continues a stopped run.",
        path("--image", "image of one person (default: a portrait of scikit-image)", "IMAGE"),
        path("--out", "folder of the report (default: %(default)s)", "FOLDER",
            default=Path("runs/demo")), workers()),
    Command("world", "render a synthetic data set with its truth",
        "Writes Parquet shards of images with masks, body parts, depth and more. Resumable.",
        path("--out", "folder of the shards", "FOLDER", required=True),
        choice("--settings", "world", ("default", "city", "held-out"), default="default"),
        *(option(f"--{name}", text, type=int, default=value, metavar="N") for name, text, value in (
            ("identities", "number", 100), ("views", "images of each", 10), ("seed", "seed", 0),
            ("first-identity", "its number", 0), ("frames", "of tracks; 0 = images", 0))),
        option("--truth", "maps, or all", nargs="*", default=["instance", "part"], metavar="MAP"),
        choice("--image-format", "of images", ("png", "webp", "jpeg"), default="png"),
        option("--sheet", "also write contact sheets"), workers("processes that render")),
    Command("lift", "lift images of persons to point clouds",
        "Estimates the pose of the person in an image, fits a body to it and colours its points. "
        "For a folder or several images, writes a folder of clouds with the same structure and a "
        "table lift.csv, or a store. Resumable: the same command continues a stopped run.",
        option("images", "images of one person each, or folders of them", type=existing_image,
            nargs="+", metavar="IMAGE"),
        path("--out", "for one image: cloud to write, .ply, .npz or .obj (default: name of the "
            "image with .ply); for several: folder to write"),
        choice("--format", "format of several clouds; store: packed clouds in shards, for many "
            "images (default: ply)", ("ply", "npz", "obj", "store")),
        choice("--engine", "of a store: processes here, or Ray (default: %(default)s)",
            ("process", "ray"), default="process"),
        path("--html", "for one image: page of its keypoints, fit, errors, cloud and doubts",
            "FILE"),
        *POSE, SKIP, workers("processes for lifting")),
    Command("generate", "generate images of the people of a data set",
        "Lifts the people of a data set and re-renders, redresses, occludes or restyles them, "
        "without a network. Writes a data set with masks, provenance (JSON), images.csv and "
        "attributes.csv. The same seed gives the same bytes. Resumable.",
        path("data", "folder in the layout of Market-1501, or people of an earlier --out",
            "DATA"),
        *DATASET, path("--out", "folder to write", "FOLDER", required=True),
        choice("--operations", "view: other heading, camera, light, place; pose, dress: also the "
            "pose or the garments of another person; occlude: a thing or person in front; style: "
            "colours of another camera; turn: all headings (default: view pose dress occlude)",
            ("view", "pose", "dress", "occlude", "style", "turn"), nargs="*", metavar="WHAT",
            default=["view", "pose", "dress", "occlude"]),
        *(option(f"--{name}", f"{text} (default: %(default)s)", type=int, default=value,
            metavar="N") for name, text, value in (("each", "images of each person and operation",
            1), ("steps", "headings of turn", 36), ("seed", "seed", 0))),
        choice("--splits", "splits whose people are shown (default: train)",
            ("train", "query", "gallery"), nargs="+", metavar="SPLIT", default=["train"]),
        choice("--labels", "of images with another person's garments: wearer or donor; or none, "
            "of all images, for --unlabelled (default: %(default)s)", ("wearer", "donor", "none"),
            default="wearer"),
        option("--originals", "also copy the images of the data set"),
        path("--styles", "people of another og-reid generate, whose cameras style imitates",
            "FOLDER"),
        option("--doubtful", "also use lifts that have reasons for doubt"),
        option("--sheet", "also write contact sheets"), SKIP, workers(), *POSE),
    Command("view", "look at point clouds, images, bodies and keypoints in 3D",
        "Shows persons side by side in a window (Open3D), or writes an image, a turntable, or an "
        "interactive page: one file for any browser, without a network. Images are lifted first.",
        path("paths", "clouds (.ply, .npz, .obj), images of one person, bodies of SAM 3D Body "
            "(.npz), keypoints (.npz, OpenPose .json), and folders", nargs="+"),
        *(path(f"--{kind}", text, "FILE") for kind, text in (("png", "image to write"),
            ("gif", "turntable to write"), ("mp4", "turntable to write"),
            ("html", "interactive page to write"))),
        choice("--color", "colours of the points: of the image; visible and occluded; body parts; "
            "nearest neighbours of --point; farthest points (default: %(default)s)",
            ("image", "visibility", "part", "neighbors", "fps"), default="image"),
        option("--point", "index of a point (default: one in the middle)", type=int, metavar="I"),
        option("--neighbors", "of --point (default: %(default)s)", type=int, default=20,
            metavar="K"),
        option("--yaw", "viewing direction, degrees: 0 front, 180 back (default: %(default)s)",
            type=float, default=0.0, metavar="DEG"),
        option("--height", "of image and turntable (default: %(default)s)", type=int, default=640,
            metavar="PIXELS"),
        option("--background", "show the points of the background"),
        option("--surface", "show bodies as surfaces at first, in page and window"),
        option("--dark", "dark form (default: light; the page: as the reader's system)",
            action="store_true", default=None),
        option("--most-megabytes", "largest page that is written (default: %(default)s)",
            type=float, default=100.0, metavar="MB"),
        *POSE, SKIP),
)
_MODELS = (
    Command("embed", "embed point clouds or images",
        "Writes one embedding per input, in the given order (in a folder, by name): a unit vector, "
        "and features of parts or cells for models that have them. Models of clouds lift images "
        "first; lifted clouds are cached. Resumable.",
        path("inputs", "clouds (.ply, .npz, .obj), images, and folders (their images; their "
            "clouds if they have no images)", "INPUT", nargs="+"),
        MODEL,
        path("--out", "npz file of `names` (n), `features` (n, D), unless a model has parts only; "
            "`parts` (n, P, D), `visibility` (n, P); or local_features, _weights, _visibility and "
            "_positions (default: %(default)s); failed inputs: FILE with the ending .failures.csv",
            "FILE", default=Path("features.npz")),
        path("--html", "page with a map of the embeddings (t-SNE) and their images", "FILE"),
        choice("--engine", "embed whole files in processes, or on workers of Ray (extra ray), "
            "--workers of them; what a stopped run has done is kept in FILE.parts (default: "
            "in this process)", ("process", "ray")),
        SKIP, *LIFTING),
    Command("rank", "rank a gallery of images for each query",
        "Compares the visible surface of people in images, or point clouds. Prints the five most "
        "similar gallery items, how much both show, the probability of one identity. A query's own "
        "file is left out.",
        path("query", "image or point cloud, or folder of them", "QUERY"),
        path("gallery", "image or point cloud, or folder of them", "GALLERY"),
        MODEL,
        path("--out", "table of all ranked items, .json or .csv", "FILE"),
        path("--grid", "figure (.png, .webp, ...) or page (.html) of queries and results", "FILE"),
        option("--queries", "most queries in the grid (default: all of a page, 12 of a figure)",
            type=int, metavar="N"),
        option("--worst", "grid of the worst queries first, by identities in names "
            "as in Market-1501"),
        option("--k", "items per query (default: %(default)s)", type=int, default=10, metavar="N"),
        option("--candidates", "items that global embeddings select, to be compared by local "
            "features (default: %(default)s)", type=int, default=200, metavar="N"),
        option("--min-shared", "rank items last of which both show a smaller fraction of the image "
            "(default: %(default)s)", type=float, default=0.0, metavar="F"),
        option("--flip-tta", "average embeddings with those of mirrored images", dest="mirror"),
        option("--center-gallery", "subtract the gallery's mean local feature"),
        option("--center-neighbors", "move gallery items toward their N mutual nearest neighbours "
            "(default: %(default)s)", type=int, default=0, metavar="N"),
        option("--rerank", "k-reciprocal re-ranking of all pairs"),
        SKIP, *LIFTING),
    Command("search", "rank images by a description in words",
        "Ranks the images of a folder, or the items of a gallery, by how well a description of "
        "clothes, bag and hair fits them.",
        path("images", "folder of images, or of a gallery", "FOLDER"),
        option("--words", "such as 'red jacket, dark trousers, backpack'", required=True,
            metavar="TEXT"),
        path("--model", "file of og-reid words (default: that of the package)", "FILE"),
        option("--k", "images to list (default: %(default)s)", type=int, default=10, metavar="N"),
        path("--out", "table of all images, .csv", "FILE"),
        SKIP),
    Command("words", "train the search by words on generated people",
        "Renders people who are described in words, embeds their images by the default model, and "
        "trains a small encoder of words. Prints its recall on 200 unseen people. About four "
        "minutes of processor time; rendering is resumable.",
        RUN_FOLDER,
        *(option(f"--{name}", f"{text} (default: %(default)s)", type=int, default=value,
            metavar="N") for name, text, value in (("identities", "people to train on", 1200),
            ("views", "images of each", 2), ("steps", "optimiser steps", 1000), ("seed", "seed", 0)
            )),
        workers("processes that render")),
    Command("explain", "show why two images match",
        "Takes the similarity of two images, or point clouds, apart: the contributions of cells, "
        "body parts or points, which sum to it. Prints those of the parts.",
        path("first", "image or point cloud", "FIRST"),
        path("second", "image or point cloud", "SECOND"),
        option("--model", "as for og-reid rank, or histogram, for colours of body parts "
            "(default: %(default)s)", default="default", metavar="MODEL"),
        path("--out", "figure (.png, .webp, ...), page (.html) or numbers (.json)", "FILE"),
        option("--lines", "matches in a figure (default: %(default)s)", type=int, default=12,
            metavar="N")),
    Command("follow", "follow people through videos",
        "Joins tracklets of the same person across gaps and cameras by what both show. Writes the "
        "boxes of each camera with the numbers of people, and a summary, follow.json.",
        path("videos", "video, or folder of its frames as images, of each camera", "VIDEO",
            nargs="+"),
        path("--detections", "boxes of the people in each video, in the order of the videos: CSV "
            "of the MOT challenge; an identity of -1 is linked from frame to frame", "FILE",
            nargs="+", required=True),
        path("--out", "folder to write (default: %(default)s)", "FOLDER", default=Path("follow")),
        MODEL,
        *(option(f"--{name}", f"{text} (default: %(default)s)", type=type(value), default=value,
            metavar="N") for name, text, value in (
            ("images", "embedded images of a tracklet", 6),
            ("threshold", "least probability of joined tracklets", 0.5),
            ("overlap", "least overlap of linked boxes", 0.3),
            ("gap", "frames without a box within a tracklet", 2))),
        option("--max-gap", "frames between joined tracklets (default: any number)", type=int,
            metavar="N"),
        choice("--sheet", "also draw frames before and after joining", ("png", "gif"))),
    Command("gallery", "enrol, search and forget images in a gallery on disk",
        "Embeds images once. add: enrol, and measure how many candidates a search needs; search: "
        "rank the items for each query; identify: a match, or not in the gallery; forget: remove "
        "items, and their bytes from all files; merge: give identities the name of the first; "
        "build: measure again; stats; export and import: Parquet. Resumable: the same add "
        "continues a stopped run.",
        choice("action", "what to do", get_args(GalleryAction)),
        path("gallery", "folder of the gallery", "GALLERY"),
        option("inputs", "images, clouds and folders to add; queries; identities to merge; Parquet "
            "file", nargs="*", metavar="INPUT"),
        MODEL,
        *(option(f"--{name}", text, metavar=metavar) for name, text, metavar in (
            ("identity", "of the items", "NAME"), ("camera", "of the items", "NAME"),
            ("item", "id to forget", "ID"),
            ("after", "earliest time of items, or the time of those added", "TIME"),
            ("before", "time that items are earlier than: seconds, or as 2026-05-01T12:30",
                "TIME"))),
        option("--from-folders", "the identity of an added image is the name of its folder"),
        option("--where", "search items with values of fields, such as metadata.zone=3",
            nargs="+", default=[], metavar="FIELD=VALUE"),
        option("--k", "items per query (default: %(default)s)", type=int, default=10, metavar="N"),
        option("--exhaustive", "compare queries with all items"),
        option("--false-accept-rate", "fraction of searches for people who are not in the gallery "
            "that have a match (default: %(default)s)", type=float, default=0.01, metavar="F"),
        option("--skip", "leave out files that cannot be embedded")),
    Command("serve", "serve a gallery on a page and over HTTP",
        "Searches, enrols and forgets images of a gallery, on a page and by an interface that "
        "/openapi.json describes. For this machine alone, unless OG_REID_TOKEN or --token-file "
        "gives a token of 16 characters or more. An interrupt, or SIGTERM, stops it.",
        path("gallery", "folder of the gallery; a new one is made by the first image", "GALLERY"),
        MODEL,
        option("--host", "address to listen on (default: %(default)s)", default="127.0.0.1"),
        option("--port", "port (default: %(default)s)", type=int, default=8000, metavar="N"),
        path("--token-file", "file with the token", "FILE"),
        path("--images", "folder that paths of items start from, for their thumbnails", "FOLDER"),
        option("--requests-per-minute", "of one client (default: %(default)s)", type=float,
            default=600.0, metavar="N")),
    Command("train", "train a model",
        "Trains a dense network, OG-Net or PGFA on identities; writes model.safetensors.",
        config("synthetic/dense, synthetic/og_net_small or occluded_duke/pgfa"),
        settings("optim.lr=0.001"),
        path("--data", "folder in the layout of Market-1501 or store of og-reid pack (their test "
            "images are the validation data), or cloud set (.safetensors); default: the synthetic "
            "world of CONFIG", "DATA"),
        *DATASET,
        path("--unlabelled", "folder, or CSV file with the column path, of additional images "
            "without identities (loss.lsro, data.sampling=shuffle)"),
        RUN_FOLDER,
        option("--resume", "resume from the last checkpoint in --out"),
        option("--dist-timeout", "timeout of processes started by torchrun "
            "(default: %(default)s)", type=float, default=1800.0, metavar="SECONDS"),
        *KEYPOINTS, *LIFTING),
    Command("adapt", "adapt a model to cameras without labels",
        "Clusters the embeddings of unlabelled images and trains on the clusters as identities, "
        "round by round; writes model.safetensors and rounds.csv.",
        config("adapt/cluster_contrast or adapt/spcl"),
        settings("rounds=10"),
        MODEL,
        path("--data", "target: training images of a folder in the layout of Market-1501, store or "
            "set of point clouds; identities are not read", "DATA"),
        path("--unlabelled", "target, in place of --data: folder of a folder of images for each "
            "camera, or CSV file with the column path"),
        *DATASET,
        path("--source", "labelled data in the layout of Market-1501, or stored point clouds, for "
            "its camera style and joint training", "DATA"),
        option("--truth", "the target's identities are true: report the quality of the pseudo "
            "labels, and the metrics of its test images"),
        RUN_FOLDER,
        option("--resume", "resume from the last checkpoint in --out"),
        *KEYPOINTS, *LIFTING),
    Command("fuse", "join a model of images and one of clouds",
        "Chooses the fusion weights of a PGFA and an OG-Net on identities held out of the training "
        "of both (data.val_identities), and writes both as one run for og-reid evaluate.",
        config("occluded_duke/fusion"),
        path("first", "run or model file of PGFA", "FIRST"),
        path("second", "run or model file of clouds", "SECOND"),
        settings("cloud_weight=0.5"),
        path("--data", "training data of both; not needed if CONFIG gives both weights",
            "FOLDER"), *DATASET, RUN_FOLDER, *KEYPOINTS, *LIFTING),
    Command("export", "write a model for onnxruntime or torch.export",
        "Writes a model of point clouds, of local features or PGFA as one file that runs without "
        "this package, for any batch size, with its preprocessing in the metadata. Model and file "
        "then embed eight people of the synthetic world: prints the largest difference of a "
        "feature and the ranks that changed; a file that differs is not kept.",
        option("model", "as for og-reid embed --model", metavar="MODEL"),
        path("--out", "file to write: .onnx, or .pt2 for torch.export.load", "FILE", required=True),
        choice("--weights", "storage: 32, 16 or 8 bits; computation is in 32 bits (default: "
            "%(default)s)", ("full", "half", "int8"), default="full")),
    Command("info", "show the settings, provenance and progress of a run",
        "Prints the settings, versions, source and seed of a training run, and its last metrics.",
        path("run_folder", "folder of og-reid train, or a model or checkpoint in it",
            "RUN")),
    Command("evaluate", "score a model on a data set",
        "Metrics of the model; of clouds also of a colour histogram and both combined; of local "
        "features, also of global embeddings and without masks. Occluded queries are also scored "
        "separately if attributes.csv is given; --slice-by selects other slices.",
        path("--data", "folder in the layout of Market-1501, or store of og-reid pack", "FOLDER",
            required=True),
        *DATASET, MODEL,
        option("--flip-tta", "average embeddings with those of mirrored inputs", dest="mirror"),
        choice("--tta", "add the embedding of the cloud scaled by 1.1, as in the OG-Net authors' "
            "code (default: %(default)s)", ("none", "scale-1.1"), default="none", dest="test_view"),
        choice("--ap", "convention of average precision (default: %(default)s)",
            ("step", "trapezoid"), default="step"),
        choice("--protocol", "cross-camera; cross-camera in random galleries of one image per "
            "identity; no filter (default: %(default)s)",
            ("market", "single-gallery-shot", "unfiltered"), default="market"),
        choice("--slice-by", "score slices of the queries: occlusion; visibility (quarters of the "
            "visible fraction); parts (number of visible body parts or stripes); yaw (angle to the "
            "most similar view among the matches); cameras (each camera against each other); "
            "viewpoint (matches of each range of angles alone). All but parts and cameras need "
            "attributes.csv (default: occlusion, if known)",
            ("occlusion", "visibility", "parts", "yaw", "cameras", "viewpoint"), nargs="+",
            metavar="WHAT", default=["occlusion"], dest="by"),
        choice("--rerank", "also score the re-ranked model: k-reciprocal re-ranking, original or a "
            "published variant, or graph propagation (gnn)",
            ("original", "layumi", "fast-reid", "transreid", "gnn")),
        path("--out", "JSON with the metrics and first results of every query, for og-reid "
            "compare", "FILE"),
        path("--html", "page with curves, histograms of scores, slices", "FILE"),
        option("--features", "local features of PGFA: stripe means of the backbone, as in the "
            "authors' code, or embeddings of the heads, as in the paper (default: "
            "%(default)s)", type=descriptor, default="backbone", metavar="{backbone,head}",
            dest="descriptor"),
        *KEYPOINTS, *LIFTING),
    Command("compare", "print a saved evaluation, or compare two",
        "Prints an evaluation of og-reid evaluate --out (or Metrics.to_json). With a second file: "
        "differences on the same queries, with 95 % intervals and p-values.",
        path("first", "file of og-reid evaluate --out, or a run folder with such a file", "RUN"),
        path("other", "second evaluation", "OTHER", nargs="?"),
        option("--details", "for one evaluation: all metrics of each row, both conventions and "
            "intervals"),
        path("--html", "page with tables, curves, slices and learning curves", "FILE"),
        path("--grid", "figure (.png, .webp, ...) or page (.html) of the queries that changed "
            "most, with the results of both; of one evaluation, the worst queries", "FILE"),
        option("--queries", "of each kind in the grid (default: 4 in a figure, 50 in a page)",
            type=int, metavar="N"),
        path("--data", "folder of the images, if it has moved since the evaluation", "FOLDER")),
)
_DATASETS = (
    Command("pack", "make a compact store of published .obj clouds",
        "Packs a tree <split>/<identity>/<image name>.obj of the OG-Net authors, such as "
        "3DMarket+bg, into a compact store with random access. Resumable: the same command "
        "continues a stopped run.",
        path("source", "folder with the folders train, train_all, val, gallery, query, or some of "
            "them", "SOURCE_TREE"),
        path("out", "folder of the store", "OUT"),
        option("--splits", "splits to pack (default: all)", nargs="+", metavar="SPLIT"),
        option("--points", "required number of points per cloud; 0 = any (default: "
            "%(default)s)", type=int, default=8192, metavar="N"),
        workers("processes for reading and writing")),
    Command("datasets", "list the data sets that can be read by name",
        "Lists the data sets that --dataset takes. None is downloaded.",
        path("--root", "folder of data sets: show those found in it, and whether their counts "
            "are as published", "DIR")),
    Command("check", "verify a data set",
        "Compares the numbers of images and identities with the published ones, and opens every "
        "file to find damaged files and duplicates.",
        option("dataset", "name of the data set (og-reid datasets lists them)", metavar="DATASET"),
        path("--data", "folder of the data set, or CSV file", required=True),
        *TRUST),
    Command("prepare", "build Occluded-Duke from DukeMTMC-reID",
        "Builds Occluded-DukeMTMC from DukeMTMC-reID and the three lists of its authors; both are "
        "verified. Resumable: the same command continues a stopped run.",
        choice("what", "data set to build", ("occluded-duke",)),
        path("--duke", "DukeMTMC-reID: .zip file, or folder (hard-linked, if possible)",
            required=True),
        path("--lists", "folder with train.list, query.list and gallery.list", "DIR",
            required=True),
        path("--out", "folder to build", "DIR", required=True)),
    Command("pose", "estimate the poses of people in images",
        "Writes the keypoints of the people in each image, the target person first. Estimated "
        "poses are cached.",
        path("images", "images, or folders of them", "IMAGES", nargs="+"),
        SKIP, *ESTIMATOR,
        choice("--format", "alphapose: one list; coco: one file, with flags in place of "
            "scores; sep-json: a folder with a file per image, for PGFA (default: "
            "%(default)s)", ("alphapose", "coco", "sep-json"), default="alphapose"),
        path("--out", "file, or folder, to write", required=True),
        cache("estimated poses")),
    Command("cache", "list, measure or clear the cache of clouds and poses",
        "The cache holds lifted clouds and estimated poses, an entry for each image (by its "
        "content) and settings.",
        choice("action", "list: entries by kind and settings; size: total size; forget: remove "
            "entries of images; clear: remove all entries", ("list", "size", "forget", "clear")),
        option("images", "for forget: image files, or names of entries (list --entries)",
            nargs="*", metavar="IMAGE"),
        option("--entries", "for list: show every entry"),
        option("--old", "for clear: only clouds of other versions of og-reid, which are unused"),
        cache("lifted clouds and estimated poses")),
    Command("doctor", "check the installation",
        "Prints versions, native kernels with their instruction level, devices, and remedies for "
        "failures."),
)
# fmt: on
#: All commands, in the order of the help.
COMMANDS = (*_DATA, *_MODELS, *_DATASETS)
