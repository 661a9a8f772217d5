"""Data sets that are added from outside the package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataset_trees import read, touch
from og_reid.cli import main
from og_reid.data import Sample, Splits, load_dataset, register_dataset
from og_reid.data.datasets import DatasetSpec, added_datasets, dataset_spec, registry
from og_reid.data.datasets.schema import Folder

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    before = dict(registry._registered)
    yield
    registry._registered.clear()
    registry._registered.update(before)


def list_images(root: Path) -> Splits:
    """A loader as a user writes it: <name>-<identity>-<camera>.png."""

    def side(folder: str) -> tuple[Sample, ...]:
        parts = [(path, *path.stem.split("-")[1:]) for path in sorted((root / folder).iterdir())]
        return tuple(Sample(path, int(pid), int(camid)) for path, pid, camid in parts)

    return Splits(side("learn"), side("ask"), side("seek"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    touch(tmp_path, ["learn/x-5-1.png", "ask/x-7-1.png", "seek/x-7-2.png", "seek/x-0-1.png"])
    return tmp_path


OURS = DatasetSpec(
    name="whatever",
    title="Ours",
    folders=("ours",),
    query=(Folder("ask", r"x-(?P<pid>\d+)-(?P<camid>\d+)\.png"),),
    gallery=(Folder("seek", r"x-(?P<pid>\d+)-(?P<camid>\d+)\.png"),),
)


def test_a_function_is_a_data_set(root: Path) -> None:
    register_dataset("ours", list_images)
    dataset = load_dataset("ours", root)
    assert (dataset.name, dataset.root) == ("ours", root)
    assert read(dataset, "gallery") == {"seek/x-0-1.png": (0, 1), "seek/x-7-2.png": (7, 2)}
    assert read(dataset, "train") == {"learn/x-5-1.png": (5, 1)}
    assert "ours" in added_datasets()


def test_a_specification_is_a_data_set(root: Path) -> None:
    register_dataset("ours", OURS)
    dataset = load_dataset("ours", root)
    assert dataset.name == "ours"
    assert read(dataset, "query") == {"ask/x-7-1.png": (7, 1)}
    assert dataset_spec("ours").title == "Ours"


def test_the_command_line_accepts_a_registered_data_set(root: Path, capsys: Capture) -> None:
    register_dataset("ours", list_images)
    assert main(["datasets"]) == 0
    assert "ours" in capsys.readouterr().out
    assert main(["check", "ours", "--data", str(root)]) == 1  # the files are empty
    captured = capsys.readouterr()
    assert "gallery          2 images of 1 identities" in captured.out
    assert "cannot be read: 4" in captured.out


def test_an_installed_package_offers_one(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "site"
    (place / "theirs-1.0.dist-info").mkdir(parents=True)
    (place / "theirs-1.0.dist-info" / "METADATA").write_text("Name: theirs\nVersion: 1.0\n")
    (place / "theirs-1.0.dist-info" / "entry_points.txt").write_text(
        "[og_reid.datasets]\ntheir-set = their_reid:load\nbroken-set = their_reid:gone\n"
        "odd-set = their_reid:ODD\n"
    )
    (place / "their_reid.py").write_text(
        "from og_reid.data import Splits, Sample\nODD = 3\n"
        "def load(root):\n"
        "    found = tuple(Sample(p, 7, 1) for p in sorted((root / 'seek').iterdir()))\n"
        "    return Splits((), found[:1], found[1:])\n"
    )
    monkeypatch.syspath_prepend(str(place))
    assert {"their-set", "broken-set"} <= set(added_datasets())
    assert len(load_dataset("their-set", root).gallery) == 1
    with pytest.raises(
        ValueError, match="'broken-set' is offered by their_reid:gone, which cannot"
    ):
        load_dataset("broken-set", root)
    with pytest.raises(
        ValueError, match=r"entry point 'odd-set' .* must be a DatasetSpec, or a fun"
    ):
        load_dataset("odd-set", root)
    sys.modules.pop("their_reid", None)


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("folder", list_images, "'folder' is a data set of og_reid: choose another"),
        ("market-1501", list_images, "'market-1501' is a data set of og_reid"),
        ("", list_images, "name must be of letters, digits"),
        ("two words", list_images, "name must be of letters"),
        ("../x", list_images, "name must be of letters"),
        ("ours", 3, "source of 'ours' must be a DatasetSpec, or a function .* got int"),
    ],
)
def test_invalid_registrations_are_refused(name: str, source: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        register_dataset(name, source)  # type: ignore[arg-type]


def test_a_name_is_replaced_only_when_asked(root: Path) -> None:
    register_dataset("ours", list_images)
    with pytest.raises(ValueError, match="registered already: choose another, or pass overwrite"):
        register_dataset("ours", OURS)
    register_dataset("ours", OURS, overwrite=True)
    assert load_dataset("ours", root).train == ()


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "must return Splits; got list"),
        (Splits((), (), ()), "found no image in"),
        (Splits((Sample(Path("a"), -1, 1),), (), ()), "belong in the gallery only"),
    ],
)
def test_the_result_of_a_loader_is_checked(root: Path, found: object, message: str) -> None:
    register_dataset("ours", lambda _: found)  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match=message):
        load_dataset("ours", root)


def test_unknown_names_list_the_added_ones(root: Path) -> None:
    register_dataset("our-cameras", list_images)
    with pytest.raises(ValueError, match="our-cameras; got 'our-camera': did you mean our-cameras"):
        load_dataset("our-camera", root)
