"""Every configuration that comes with the package: its network, its data, two steps of training.

Files that differ from one that is trained in numbers alone (a learning rate, epochs, the size of a
batch) build their network only. The data are small trees in the layout of the configuration's data
set. The published sizes (up to 4096 points of 36 clouds) would take seconds each, so sizes of
batches, clouds and images are made small; everything else is as the file says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from meshes.pointcloud import PointCloud
from meshes.world import write_world
from og_reid.cli import main
from og_reid.config import from_dict
from og_reid.config.load import config_folder, load_config
from og_reid.config.schema import ModelConfig, TrainConfig
from og_reid.data import CloudSet, Sample
from og_reid.data.clouds import lift_dataset as lifting
from og_reid.data.clouds.convert_market3d import convert_market3d
from og_reid.models import ARCHITECTURES
from og_reid.train import build_model, read_log
from og_reid.train.image_task import build_image_network

ALL_NAMES = sorted(
    path.relative_to(config_folder()).with_suffix("").as_posix()
    for path in config_folder().rglob("*.yaml")
    if path.parent.name != "base"  # what others are based on
)
#: Those of og-reid train; of og-reid fuse and adapt, other files have runs.
NAMES = [n for n in ALL_NAMES if not n.endswith("/fusion") and not n.startswith("adapt/")]
#: Data set of a folder, and of the first word of a name in the folder og_net.
DATASETS = {
    "market": "market-1501",
    "duke": "dukemtmc-reid",
    "occluded_duke": "occluded-duke",
    "cuhk03": "cuhk03-np-detected",
    "msmt17": "msmt17-v1",
}
POINTS = 64
PEOPLE = {"train": (2, 7, 11, 30), "query": (40, 41), "gallery": (40, 41)}


def image_name(dataset: str, pid: int, camera: int, number: int) -> str:
    if dataset == "market-1501":
        return f"{pid:04}_c{camera}s1_{number:06}_00.jpg"
    if dataset == "cuhk03-np-detected":
        return f"{pid:04}_c{camera}_{number}.png"
    if dataset == "msmt17-v1":
        return f"{pid:04}_{number:03}_{camera:02}_0303morning_0008_0.jpg"
    return f"{pid:04}_c{camera}_f{number:07}.jpg"


def images(dataset: str) -> Iterator[tuple[str, int, str]]:
    """Split, identity and name: three training images of each person, one in each other split."""
    for split, pids in PEOPLE.items():
        for pid in pids:
            for number in range(3 if split == "train" else 1):
                camera = 2 if split == "gallery" else number % 2 + 1
                yield split, pid, image_name(dataset, pid, camera, number + 1)


def image_tree(dataset: str, root: Path) -> Path:
    """Photographs as the data set has them, and keypoints in ``keypoints`` beside them."""
    keypoints = root.parent / "keypoints"
    keypoints.mkdir()
    folders = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
    random = np.random.default_rng(0)
    for split, pid, name in images(dataset):
        path = root / folders[split] / name
        if dataset == "msmt17-v1":
            part = "train" if split == "train" else "test"
            path = root / part / f"{pid:04}" / name
            root.mkdir(exist_ok=True)
            with (root / f"list_{split}.txt").open("a") as file:
                file.write(f"{pid:04}/{name} {pid}\n")
            (root / "list_val.txt").touch()
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (32, 16, 3), dtype=np.uint8)).save(path)
        person = random.uniform(1, 15, (18, 3)) * (1, 2, 1 / 15)
        people = [{"pose_keypoints_2d": person.flatten().tolist()}]
        (keypoints / f"{path.stem}.json").write_text(json.dumps({"people": people}))
    return root


def cloud_store(dataset: str, root: Path) -> Path:
    """Clouds as the OG-Net authors have them for the data set, converted."""
    random = np.random.default_rng(0)
    for split, pid, name in images(dataset):
        path = root / "tree" / split / f"{pid:04}" / f"{name}.obj"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = np.hstack(
            [random.uniform(-1, 1, (POINTS, 3)), random.integers(0, 256, (POINTS, 3)) / 255]
        )
        lines = ["v " + " ".join(f"{value:.6f}" for value in row) for row in rows]
        path.write_text("\n".join([*lines, "f 1 2 3", ""]))
    convert_market3d(root / "tree", root / "store", expected=POINTS)
    return root / "store"


def lifted(samples: Sequence[Sample], **_: object) -> CloudSet:
    """In place of the lift, which other tests look at: a random cloud of each photograph."""

    def cloud(sample: Sample) -> PointCloud:
        generator = torch.Generator().manual_seed(sample.pid)
        return PointCloud(
            points=torch.randn(POINTS, 3, generator=generator) * 0.3,
            colors=torch.rand(POINTS, 3, generator=generator),
            part=torch.randint(24, (POINTS,), generator=generator),
        )

    return CloudSet.from_clouds((cloud(each), each.pid, each.camid, each.name) for each in samples)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A tree of a kind (images, clouds, world) for a data set, made once."""

    @cache
    def make(kind: str, dataset: str) -> Path:
        root = tmp_path_factory.mktemp(kind)
        if kind == "world":
            return write_world(
                root / "world", train_identities=4, test_identities=2, views=2, cameras=2, seed=0
            )
        if kind == "clouds":
            pytest.importorskip("pyarrow")
            return cloud_store(dataset, root)
        return image_tree(dataset, root / "tree")

    return make


def dataset_of(name: str) -> str:
    """What the file is for, by the names of og-reid datasets; of the synthetic world nothing."""
    folder, stem = name.split("/")
    return DATASETS.get(stem.split("_")[0] if folder == "og_net" else folder, "")


def kinds(name: str) -> set[tuple[object, ...]]:
    """What a file has that takes code of its own: reader, network, losses, sampler, optimiser."""
    config = load_config(name)
    optim = config.optim
    return {
        ("reader", dataset_of(name), config.data.point_order, config.model.arch in ARCHITECTURES),
        ("model", config.model),
        ("losses", replace(config.loss, circle_gamma=64.0)),
        ("sampler", config.data.sampling),
        (
            "optimiser",
            optim.optimizer,
            optim.schedule,
            optim.swa_fraction > 0,
            optim.bn_update_batches is None,
        ),
    }


def trained() -> list[str]:
    """The first files that have something which those before do not have."""
    known: set[tuple[object, ...]] = set()
    names = []
    for name in NAMES:
        if not kinds(name) <= known:
            known |= kinds(name)
            names.append(name)
    return names


TRAINED = trained()


def smaller(config: TrainConfig) -> list[str]:
    """The settings that decide how long two steps take."""
    settings = {
        "data.num_points": 48, "data.num_ids": 2, "data.num_instances": 2, "data.batch_size": 4,
        "model.num_points": 32, "model.k": 4, "budget.steps": 2, "budget.epochs": "null",
        "budget.cpu_minutes": "null", "budget.wall_minutes": "null", "device": "cpu",
        "image.height": 64, "image.width": 32, "model.init_from": "null",
        "optim.milestones": "[]", "optim.schedule": "cosine", "loss.warmup_epochs": 0,
    }  # fmt: skip
    if config.model.arch == "stripes":  # a row of the map for each stripe
        settings["image.height"] = 128
    if config.optim.bn_update_batches is not None:
        settings["optim.bn_update_batches"] = 1
    known = {field.name for field in fields(TrainConfig)}
    of_model = {field.name for field in fields(ModelConfig)}
    return [
        f"{name}={value}"
        for name, value in settings.items()
        if name.split(".")[0] in known
        and (not name.startswith("model.") or name.split(".")[1] in of_model)
    ]


@pytest.mark.parametrize("name", TRAINED)
def test_a_configuration_trains(
    name: str, trees: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifting, "lift_dataset", lifted)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # no curves, which take longest
    config = load_config(name)
    command = ["train", name, *smaller(config), "--out", str(tmp_path)]
    dataset = dataset_of(name)
    if config.model.arch == "dense":
        small = ("identities=2", "views=2")
        worlds = ("labelled", "second_labelled")
        command += [f"{world}.{each}" for world in worlds for each in small]
        command += ["dense.sizes=[[64, 32]]"]
    elif not dataset:
        assert config.world.train_identities
        command += ["--data", str(trees("world", ""))]
    else:
        assert not config.world.train_identities
        if config.model.arch in ARCHITECTURES and config.data.point_order == "reference":
            command += ["--data", str(trees("clouds", dataset))]
        else:
            tree = trees("images", dataset)
            command += ["--data", str(tree), "--dataset", dataset, "--no-verify"]
            if config.model.arch not in ARCHITECTURES:
                command += ["--keypoints", str(tree.parent / "keypoints")]
    assert main(command) == 0
    log = read_log(tmp_path / "log.csv")
    assert [record.step for record in log] == [1, 2]
    assert (tmp_path / "model.safetensors").is_file()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TRAINED])
def test_a_configuration_builds_its_network(name: str) -> None:
    config = load_config(name, ["model.init_from=null"])
    if config.model.arch in ARCHITECTURES:
        network = build_model(config.model, 5, torch.Generator().manual_seed(0))
        assert network.classify(torch.ones(2, config.model.embedding_dim)).shape == (2, 5)
    elif config.model.arch == "stripes":
        network = build_image_network(config, 5)
        assert network.classify(network(torch.ones(2, 3, 128, 64))).shape[::2] == (2, 5)
        assert network.parts == tuple(each for stripes in config.model.stripes for each in stripes)
    else:
        assert len(build_image_network(config, 5).part_heads) == config.model.parts


def test_untrained_configurations_differ_from_trained_ones_in_numbers_alone() -> None:
    assert set().union(*map(kinds, TRAINED)) == set().union(*map(kinds, NAMES))
    assert {name.split("/")[0] for name in TRAINED} == {name.split("/")[0] for name in NAMES}


@pytest.mark.parametrize("name", ALL_NAMES)
def test_a_configuration_states_its_expected_metrics(name: str) -> None:
    """A comment at the top: a result, or that there is none; and that it was not verified."""
    lines = (config_folder() / f"{name}.yaml").read_text().splitlines()
    comment = " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))
    assert lines[0].startswith("# ")
    assert len(lines) <= 25
    if not name.startswith("synthetic/"):
        assert "ot verified here" in comment


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": "town"}, "labelled.settings must be one of"),
        ({"settings": "city", "without": ["sound"]}, "labelled.without must be out of"),
        ({"without": ["rain"]}, "labelled.without must be empty for settings 'default'"),
    ],
)
def test_worlds_of_labelled_images_are_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_dict({"labelled": change})
    found = from_dict({"labelled": {"settings": "city", "without": ["weather", "blur"]}})
    assert found.labelled.without == ("weather", "blur")


def test_worlds_of_a_run_have_distinct_identities() -> None:
    first = {"identities": 20, "first_identity": 100}
    for start in (81, 100, 119):
        with pytest.raises(ValueError, match="second_labelled must have other identities"):
            from_dict({"labelled": first, "second_labelled": {**first, "first_identity": start}})
    for start in (80, 120):
        from_dict({"labelled": first, "second_labelled": {**first, "first_identity": start}})
    from_dict({"labelled": first})
