"""Generated data sets: the same bytes however made, readable, with consistent truth and labels."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from keypoint_lookup import rendered_set
from og_reid.data import load_dataset, load_market, read_attributes
from og_reid.data.generation.folder import read_provenance
from og_reid.data.generation.people import read_person
from og_reid.pipelines import DataSpec, GenerateSpec, generate

OPERATIONS = ("view", "pose", "dress", "occlude", "style", "turn")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Callable[[], Any]]:
    root = tmp_path_factory.mktemp("source") / "world"
    return root, rendered_set(root, people=4, views=2)


def spec_of(world: tuple[Path, Callable[[], Any]], out: Path, **changed: Any) -> GenerateSpec:
    given = {"operations": OPERATIONS, "steps": 2, "masks": "pose", "doubtful": True,
             "estimator": world[1], "originals": True, "sheet": True}  # fmt: skip
    return GenerateSpec(DataSpec(world[0]), out, **given | changed)


@pytest.fixture(scope="module")
def made(world: tuple[Path, Callable[[], Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generated") / "out"
    done = generate(spec_of(world, out))
    assert (done.made, done.kept, done.people, done.failures) == (28, 0, 4, ())
    return out


def rows(out: Path, table: str = "images.csv") -> list[dict[str, str]]:
    with (out / table).open(newline="") as file:
        return list(csv.DictReader(file))


def content(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def test_two_workers_and_an_interrupted_run_give_the_same_bytes(
    world: tuple[Path, Callable[[], Any]], made: Path, tmp_path: Path
) -> None:
    before = content(made)
    out = tmp_path / "again"
    generate(spec_of(world, out, workers=2))
    assert content(out) == before
    images = sorted((out / "bounding_box_train").glob("*_c*s90*"))
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes()[:100])
    next((out / "people").iterdir()).write_bytes(b"damaged")
    (out / "provenance" / f"{images[2].stem}.json").write_text("{")
    done = generate(spec_of(world, out))
    assert done.kept == done.made - 3
    assert content(out) == before


def test_the_readers_of_the_package_read_the_set(made: Path) -> None:
    splits = load_market(made)
    assert len(splits.train) == 4 + 28
    assert (len(splits.query), len(splits.gallery)) == (2, 2)
    listed = load_dataset("csv", made / "images.csv")
    assert len(listed.train) == 32
    assert {each.pid for each in listed.train} == {1, 2}
    attributes = read_attributes(made)
    named = {each["path"].split("/")[1]: each for each in rows(made)}
    assert set(attributes) == set(named)
    for name, each in attributes.items():
        assert each.yaw == pytest.approx(float(named[name]["yaw"]), abs=1e-4)
        assert each.occluded == (named[name]["occluder"] != "none")
    new = [each for each in rows(made) if each["operation"] in ("view", "turn")]
    assert min(int(each["camid"]) for each in new) > 2  # no camera of the set


def test_truth_is_that_of_the_image(made: Path) -> None:
    fractions = []
    for row in rows(made):
        if row["operation"] == "original":
            continue
        name = Path(row["path"]).name
        image = np.asarray(Image.open(made / row["path"]))
        mask = np.asarray(Image.open(made / "masks" / name)) > 0
        assert image.shape == (256, 128, 3)
        assert mask.shape == (256, 128)
        truth = read_provenance(made / "provenance" / f"{Path(name).stem}.json")
        points = np.array(truth["keypoints"]["xy"])
        state = np.array(truth["keypoints"]["visibility"])
        inside = [
            bool(mask[int(y), int(x)])
            for (x, y), seen in zip(points, state, strict=True)
            if seen == 1 and 0 <= x < 128 and 0 <= y < 256
        ]
        if row["operation"] in ("view", "pose", "dress", "turn"):
            assert np.mean(inside) > 0.7  # toes and ears lie at the edge
            fractions.append(np.mean(inside))
            assert mask.mean() > 0.08
        if row["operation"] == "occlude":
            source = next(
                person
                for path in (made / "people").iterdir()
                if (person := read_person(path)).name == row["source"]
            )
            changed = (image != source.image).any(-1)
            hidden = source.mask.numpy() & ~mask
            away = mask & ~binary_dilation(hidden, iterations=4)  # of soft edges
            assert changed[away].mean() < 0.03
            assert hidden.sum() / source.mask.sum() == pytest.approx(
                1 - float(row["visible_fraction"]), abs=1e-4
            )
            assert changed[hidden].mean() > 0.9
            assert float(row["visible_fraction"]) < 0.95
            covered = [
                seen == 0 for (x, y), seen in zip(points, state, strict=True)
                if 0 <= x < 128 and 0 <= y < 256 and hidden[int(y), int(x)]
            ]  # fmt: skip
            assert all(covered)
    assert np.mean(fractions) > 0.9


def test_headings_of_a_turn_and_of_lifts(made: Path) -> None:
    turns = [float(each["yaw"]) for each in rows(made) if each["operation"] == "turn"]
    assert sorted({round(abs(each), 4) for each in turns}) == [0.0, 3.1416]
    for row in rows(made):
        if row["operation"] != "original":
            continue
        yaws = {person.name: person.yaw for person in map(read_person, (made / "people").iterdir())}
        assert float(row["yaw"]) == pytest.approx(yaws[row["source"]], abs=1e-4)


def test_provenance_names_source_operation_and_seed(made: Path) -> None:
    for row in rows(made):
        if row["operation"] == "original":
            continue
        truth = read_provenance(made / "provenance" / f"{Path(row['path']).stem}.json")
        recipe = truth["recipe"]
        assert recipe["operation"] == row["operation"]
        assert recipe["source"] == row["source"]
        assert recipe["seed"] >= 0
        donor = recipe["donor"]
        assert row["donor"] == ("" if donor is None else str(donor["pid"]))
        if donor is not None:
            assert donor["pid"] != recipe["person"]["pid"]
        assert truth["parameters"]
    assert (made / "sheets" / "dress.png").is_file()


def test_labels_of_the_donor_and_none(
    world: tuple[Path, Callable[[], Any]], made: Path, tmp_path: Path
) -> None:
    stored = replace(
        spec_of(world, tmp_path / "donor"), data=DataSpec(made / "people"), originals=False,
        operations=("dress",), labels="donor", sheet=False, estimator=None,
    )  # fmt: skip
    generate(stored)
    assert {each["pid"] for each in rows(tmp_path / "donor")} == {"1", "2"}
    for each in rows(tmp_path / "donor"):
        assert each["pid"] == each["donor"] != each["wearer"]
    generate(replace(stored, out=tmp_path / "none", labels="none"))
    assert not (tmp_path / "none" / "images.csv").exists()
    unlabelled = rows(tmp_path / "none", "unlabelled.csv")
    assert len(unlabelled) == 4
    from og_reid.data.datasets import paths_from_csv

    assert len(paths_from_csv(tmp_path / "none" / "unlabelled.csv")) == 4
    with pytest.raises(FileExistsError, match="labels 'donor', not 'wearer'"):
        generate(replace(stored, labels="wearer"))
    pictures = [
        {path.name[4:]: path.read_bytes() for path in (tmp_path / name).rglob("*_c*s902_*.png")}
        for name in ("donor/bounding_box_train", "none/unlabelled")
    ]
    assert len(pictures[0]) == 4
    assert pictures[0] == pictures[1]  # labels change no pixel


def test_other_people_to_imitate_are_other_settings(
    world: tuple[Path, Callable[[], Any]], made: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    spec = spec_of(world, out, operations=("style",), styles=made / "people", sheet=False)
    assert generate(spec).made > 0
    assert generate(spec).kept > 0
    fewer = tmp_path / "people"
    fewer.mkdir()
    for file in sorted((made / "people").glob("*.npz"))[1:]:
        (fewer / file.name).write_bytes(file.read_bytes())
    with pytest.raises(FileExistsError, match=r"other settings .*styles"):
        generate(replace(spec, styles=fewer))


def test_images_without_a_person_are_reported(
    world: tuple[Path, Callable[[], Any]], tmp_path: Path
) -> None:
    source = tmp_path / "set"
    for path in sorted(world[0].rglob("*.png")):
        place = source / path.relative_to(world[0])
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    train = source / "bounding_box_train"
    Image.new("RGB", (64, 128)).save(train / "0001_c1s1_000077_00.png")
    (train / "0001_c1s1_000078_00.png").write_bytes(b"no image")
    given = replace(spec_of(world, tmp_path / "out", operations=("view",)), data=DataSpec(source))
    done = generate(given)
    assert done.made == 4
    reasons = {each.path.name: each.reason for each in done.failures}
    assert set(reasons) == {"0001_c1s1_000077_00.png", "0001_c1s1_000078_00.png"}
    assert "no person was found" in reasons["0001_c1s1_000077_00.png"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"operations": ("view", "shave")}, "operations must be one of"),
        ({"operations": ("view", "view")}, "operations must differ"),
        ({"operations": (), "originals": False}, "at least one, or originals"),
        ({"splits": ()}, "splits must be given"),
        ({"splits": ("test",)}, "splits must be one of"),
        ({"labels": "both"}, "labels must be one of"),
        ({"each": 0}, "each must be a whole number, 1 to 100"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"least_seen": float("nan")}, r"least_seen must be in \[0, 1\]"),
        ({"workers": 0}, "workers must be at least 1"),
    ],
)
def test_bad_settings_are_refused(
    world: tuple[Path, Callable[[], Any]], tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        spec_of(world, tmp_path, **changed)


def test_bad_data_is_refused(
    world: tuple[Path, Callable[[], Any]], made: Path, tmp_path: Path
) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="must be new or empty"):
        generate(spec_of(world, tmp_path / "used"))
    alone = replace(
        spec_of(world, tmp_path / "out", operations=("dress",)), data=DataSpec(tmp_path / "people"),
        originals=False,
    )  # fmt: skip
    (tmp_path / "people").mkdir()
    person = next(
        path for path in sorted((made / "people").iterdir()) if read_person(path).pid == 1
    )
    (tmp_path / "people" / "a.npz").write_bytes(person.read_bytes())
    with pytest.raises(ValueError, match="at least two identities in train"):
        generate(alone)
    with pytest.raises(ValueError, match="at least two cameras"):
        generate(replace(alone, out=tmp_path / "style", operations=("style",)))
    with pytest.raises(ValueError, match="holds no person of query"):
        generate(replace(alone, out=tmp_path / "query", splits=("query",)))
    with pytest.raises(ValueError, match="originals need a data set of images"):
        generate(replace(alone, out=tmp_path / "copies", originals=True))
    whole = person.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"PK" + bytes(1000)):
        (tmp_path / "people" / "a.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.npz: must be a person of og-reid generate"):
            generate(replace(alone, out=tmp_path / "damaged"))


def test_provenance_that_is_damaged_is_refused(tmp_path: Path) -> None:
    for text in ("", "[1]", "{", json.dumps("text")):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(ValueError, match="must be"):
            read_provenance(tmp_path / "a.json")
