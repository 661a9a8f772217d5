"""Galleries on disk: enrolment, search, decisions, changes, and clear errors."""

from __future__ import annotations

import errno
import json
import threading
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("lancedb")

import og_reid
from doc_blocks import blocks
from full_disk import full_disk
from local_people import views
from og_reid.data import lift_store
from og_reid.data.clouds.lift_store import LabelledImage
from og_reid.data.files.folder_lock import locked_folder
from og_reid.gallery.measures import measure_baseline
from og_reid.gallery.settings import SETTINGS, read_settings, write_settings
from og_reid.models import Embedding
from pose.files.reading import InputWarning
from rendered_people import one_person
from standing_person import StandingPerson, plain_image

PEOPLE = views([n % 12 for n in range(48)], 1, noise=0.2)
LABELS = {
    "identities": [f"p{n % 12}" for n in range(48)],
    "cameras": [n // 12 for n in range(48)],
    "times": list(range(48)),
}


def filled(folder: Path) -> og_reid.Gallery:
    gallery = og_reid.Gallery(folder / "gallery")
    gallery.add(PEOPLE, list(range(48)), **LABELS)
    return gallery


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> og_reid.Gallery:
    """A gallery that tests read."""
    gallery = filled(tmp_path_factory.mktemp("given"))
    gallery.build()
    return gallery


def test_images_are_found_again_without_being_embedded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos/north").mkdir(parents=True)
    for seed in (1, 2, 3):
        Image.fromarray(one_person(seed)).save(f"photos/north/{seed}.png")
    (tmp_path / "photos/broken.png").write_bytes(b"no image")
    gallery = og_reid.Gallery("gallery")
    with pytest.raises(ValueError, match=r"broken\.png"):
        gallery.add("photos")
    found = gallery.add("photos", cameras=lambda path: path.parent.name, skip=True)
    assert (found.new, found.unchanged) == (3, 0)
    assert found.failed[0][0] == "photos/broken.png"
    result = og_reid.Gallery.open("gallery").search("photos/north/2.png", k=2)
    assert result.items[0].id == result.items[0].path
    assert result.ranked()[0].id == "photos/north/2.png"
    assert result.ranked()[0].camera == "north"
    assert result.query_names == ("photos/north/2.png",)
    assert result.probability is not None

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr("og_reid.gallery.enrolment.describe", refuse)
    (tmp_path / "photos/broken.png").unlink()
    again = og_reid.Gallery("gallery").add("./photos/", cameras=lambda path: path.parent.name)
    assert (again.new, again.replaced, again.unchanged) == (0, 0, 3)


def test_the_ranking_is_that_of_all_pairs(given: og_reid.Gallery) -> None:
    asked = views([3, 5], 2)
    plain = og_reid.rank(asked, PEOPLE, k=6)
    found = given.search(asked, k=6, exhaustive=True)
    assert [[each.id for each in found.ranked(row)] for row in (0, 1)] == [
        list(map(str, row)) for row in plain.indices.tolist()
    ]
    assert torch.allclose(found.scores, plain.scores, atol=2e-3)
    assert plain.shared is not None
    assert found.shared is not None
    assert torch.allclose(found.shared, plain.shared, atol=1e-3)
    two_stages = given.search(asked, k=6)
    assert two_stages.candidates is not None
    assert torch.equal(two_stages.distances, found.distances)


def test_filters(given: og_reid.Gallery) -> None:
    asked = views([3], 2)

    def numbers(**where: object) -> set[int]:
        return {int(each.id) for each in given.search(asked, k=50, **where).ranked()}  # type: ignore[arg-type]

    assert numbers(cameras=2) == set(range(24, 36))
    assert numbers(cameras=[0, "1"], after=5, before=20) == set(range(5, 20))
    assert numbers(where={"identity": ["p3", "p4"]}) == {3, 15, 27, 39, 4, 16, 28, 40}
    assert numbers(identities="p3", exclude_same_camera=True, query_cameras=1) == {3, 27, 39}
    assert numbers(after=datetime(1970, 1, 1, 0, 0, 40)) == set(range(40, 48))
    assert numbers(where={"id": "1' OR '1'='1"}) == set()
    assert given.search(asked, where={"id": "absent"}).ranked() == []


def test_decisions(given: og_reid.Gallery) -> None:
    known, unknown = views([3], 5, noise=0.2), views([700], 5, noise=0.2)
    hidden = views([3], 5, hidden=1.0)
    asked = type(known).cat([known, unknown, hidden])
    found = given.identify(asked, 0.05)
    assert [each.answer for each in found] == ["match", "not in the gallery", "not enough seen"]
    assert found[0].identity == "p3"
    assert found[0].probability is not None
    assert found[0].score >= found[0].threshold == given.threshold(0.05)
    assert found[1].score < found[1].threshold
    assert str(found[0]).startswith("match: p3 (")
    assert str(found[1]).startswith("not in the gallery (nearest: ")
    assert str(found[2]) == "not enough seen"
    assert given.threshold(0.001, per="comparison") >= given.threshold(0.01, per="comparison")
    with pytest.raises(ValueError, match="48 searches of enrolled items support"):
        given.threshold(0.001)


def test_drift_warns(given: og_reid.Gallery) -> None:
    asked = views(list(range(20)), 8)
    assert asked.features is not None
    baseline = read_settings(given.path / SETTINGS).baseline
    assert baseline is not None
    mean = torch.tensor(baseline.mean)
    shifted = replace(asked, features=asked.features + 2 * mean / mean.norm())
    assert given.drift(shifted).drifted
    with pytest.warns(InputWarning, match="standard deviations"):
        given.search(shifted, k=1)


def test_identities_are_merged_split_and_averaged(tmp_path: Path) -> None:
    gallery = filled(tmp_path)
    assert gallery.merge(["p1", "p2"]) == 4
    assert gallery.split(["1", "13"], "new") == 2
    means = gallery.means()
    number = means.names.index("p1")
    assert PEOPLE.features is not None
    rows = [2, 14, 25, 26, 37, 38]
    unit = torch.nn.functional.normalize(PEOPLE.features[rows], dim=1)
    assert int(means.counts[number]) == 6
    assert torch.allclose(means.means[number], unit.mean(0), atol=1e-5)
    assert int(means.counts.sum()) == 48
    with pytest.raises(ValueError, match="must be ids of the gallery"):
        gallery.split("nothing", "x")
    with pytest.raises(ValueError, match="by must be"):
        gallery.means("camera")


def test_what_is_forgotten_is_in_no_file(tmp_path: Path) -> None:
    gallery = filled(tmp_path)
    gallery.add(PEOPLE[:1], ["secret-one"], identities="secret-identity", paths=["secret-path"])
    secret = PEOPLE.features[0].numpy().tobytes()  # type: ignore[index]

    def held(content: bytes) -> bool:
        files = [each for each in gallery.path.rglob("*") if each.is_file()]
        return any(content in each.read_bytes() for each in files)

    assert held(secret)
    assert gallery.forget(identity="p0") == 4
    assert held(secret)
    assert gallery.forget(item="secret-one") == 1
    for each in (secret, b"secret-one", b"secret-identity", b"secret-path"):
        assert not held(each)
    assert len(gallery) == 44
    assert gallery.forget(before=10, identity=["p1", "p2"]) == 2
    gallery.build()
    gallery.forget(identity="p5")
    baseline = read_settings(gallery.path / SETTINGS).baseline
    assert baseline == measure_baseline(gallery._folder.store().snapshot())
    assert gallery.forget(before=100) == 38
    assert len(gallery) == 0
    assert gallery.search(views([1], 2)).ranked() == []
    assert gallery.stats().items == 0
    assert gallery.forget(identity="p0") == 0
    with pytest.raises(ValueError, match="must be given"):
        gallery.forget()


def test_export_and_import(tmp_path: Path, given: og_reid.Gallery) -> None:
    assert given.export(tmp_path / "all.parquet") == 48
    other = og_reid.Gallery(tmp_path / "other")
    assert other.import_(tmp_path / "all.parquet").new == 48
    assert other.import_(tmp_path / "all.parquet").replaced == 48
    asked = views([3], 2)
    first, second = (each.search(asked, exhaustive=True) for each in (given, other))
    assert torch.equal(first.distances, second.distances)
    assert first.ranked() == second.ranked()
    (tmp_path / "no.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ValueError, match="Parquet file of a gallery"):
        other.import_(tmp_path / "no.parquet")
    with pytest.raises(ValueError, match="of another model"):
        og_reid.Gallery(tmp_path / "fast", "fast").import_(tmp_path / "all.parquet")


def test_one_writes_at_a_time(tmp_path: Path) -> None:
    gallery = filled(tmp_path)
    with locked_folder(gallery.path, "x"):
        caught: list[str] = []

        def write() -> None:
            try:
                gallery.forget(item="3")
            except ValueError as error:
                caught.append(str(error))

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert "is being written to by another process" in caught[0]
    assert len(gallery) == 48
    assert len(og_reid.Gallery.open(gallery.path).search(views([1], 2)).ranked()) == 10


def test_readers_see_each_change_as_a_whole(tmp_path: Path) -> None:
    gallery, seen, done = filled(tmp_path), set[int](), threading.Event()
    errors: list[BaseException] = []

    def read() -> None:
        reader = og_reid.Gallery.open(gallery.path)
        while not done.is_set():
            try:
                seen.add(len(reader.search(views([1], 2), k=100, where={"identity": "q"}).ranked()))
            except BaseException as error:
                errors.append(error)
                return

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(4):
        gallery.add(PEOPLE[:10], [f"q{n}" for n in range(10)], identities="q")
        time.sleep(0.02)
        assert gallery.forget(identity="q") == 10
    done.set()
    thread.join()
    assert not errors
    assert seen <= {0, 10}
    assert 0 in seen


def test_a_full_disk_leaves_the_gallery_as_it_was(tmp_path: Path) -> None:
    gallery = filled(tmp_path)
    many = views(list(range(100, 400)), 3)
    with full_disk(20_000), pytest.raises(OSError, match=r"too large|No space") as caught:
        gallery.add(many, [f"m{n}" for n in range(300)])
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC, errno.EIO)
    for each in (gallery, og_reid.Gallery.open(gallery.path)):
        assert len(each) == 48
        assert each.search(views([3], 2), k=1).ranked()[0].identity == "p3"
    assert gallery.add(many, [f"m{n}" for n in range(300)]).new == 300


def test_folders_that_are_no_galleries(tmp_path: Path, given: og_reid.Gallery) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").touch()
    (tmp_path / "empty").mkdir()
    for path, text in (
        ("photos", "it holds a.jpg"), ("photos/a.jpg", "it is a file"),
        ("nothing", "no such folder"), ("empty", "it is empty"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"no gallery: .*{text}"):
            og_reid.Gallery.open(tmp_path / path)
    with pytest.raises(ValueError, match="no gallery yet: add images first"):
        og_reid.Gallery(tmp_path / "empty").search(views([1], 1))
    settings = json.loads((given.path / SETTINGS).read_text())
    for change, text in (
        ({"version": 2}, "version 2, and this og-reid reads 1: update"),
        ({"format": "x"}, "has not the format"),
        ({"layout": None}, "layout"),
        ({"rounding": "big"}, "rounding must be"),
    ):
        (tmp_path / "empty" / SETTINGS).write_text(json.dumps({**settings, **change}))
        with pytest.raises(ValueError, match=text):
            og_reid.Gallery(tmp_path / "empty")


def test_other_models_and_inputs_are_refused(tmp_path: Path, given: og_reid.Gallery) -> None:
    with pytest.raises(ValueError, match="embeddings of different models cannot be compared"):
        og_reid.Gallery(given.path, "fast").search(views([1], 1))
    with pytest.raises(ValueError, match="the gallery's layout"):
        given.search(views([1], 1).without_parts())
    gallery = filled(tmp_path)
    settings = read_settings(gallery.path / SETTINGS)
    write_settings(gallery.path / SETTINGS, replace(settings, digest="0" * 32))
    with pytest.raises(ValueError, match="other weights of default"):
        og_reid.Gallery.open(gallery.path).search(views([1], 1))
    write_settings(gallery.path / SETTINGS, settings)
    with pytest.raises(ValueError, match="of another model"):
        gallery.add(views([1], 1).without_parts(), ["x"])
    bad = views([1, 2], 1)
    assert bad.features is not None
    bad.features[1] = torch.nan
    with pytest.raises(ValueError, match=r"NaN or infinity in rows \[1\]"):
        gallery.add(bad, ["x", "y"])
    with pytest.raises(ValueError, match="finite"):
        gallery.search(bad)
    for wrong, text in (
        ({"ids": ["a"]}, "ids must be 2"), ({"ids": ["a", "a"]}, "'a' twice"),
        ({"metadata": {"x": {1, 2}}}, "plain JSON"), ({"times": ["noon", 1]}, "times must be"),
        ({"cameras": [1.5, 2]}, "cameras must be text"), ({"identities": len}, "no files"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=text):
            gallery.add(views([1, 2], 1), **wrong)  # type: ignore[arg-type]
    assert len(gallery) == 48


def test_equal_content_without_ids_is_one_item(tmp_path: Path) -> None:
    gallery = og_reid.Gallery(tmp_path / "g")
    assert gallery.add(type(PEOPLE).cat([PEOPLE[:3], PEOPLE[1:4]])).new == 4
    assert gallery.add(PEOPLE[:4]).unchanged == 4
    assert gallery.add(PEOPLE[:4], cameras=3).replaced == 4


def test_point_clouds_have_their_own_model(tmp_path: Path) -> None:
    from random_clouds import cloud

    gallery = og_reid.Gallery(tmp_path / "g")
    gallery.add([cloud(n) for n in range(3)], ["a", "b", "c"])
    again = og_reid.Gallery.open(tmp_path / "g")
    assert again.model.inputs == "cloud"
    assert again.search(cloud(1), k=1).ranked()[0].id == "b"
    assert "exact, by global embeddings" in str(again.stats())
    assert "recall: 1" in str(again.build())


def test_a_store_of_lifted_images_is_enrolled_by_name(tmp_path: Path) -> None:
    images = [
        LabelledImage(plain_image(tmp_path / f"in/{shade}.png", shade), f"{shade}.png")
        for shade in (100, 120, 140)
    ]
    lift_store(images, tmp_path / "store", estimator=StandingPerson, images_per_shard=2)
    gallery = og_reid.Gallery(tmp_path / "g")
    assert gallery.add(og_reid.data.LiftedStore(tmp_path / "store")).new == 3
    assert gallery.add(tmp_path / "store").unchanged == 3
    snapshot = gallery._folder.store().snapshot()
    blocks = list(snapshot.scan(["id", "features"]))
    ids = [each for block in blocks for each in block["id"]]
    assert ids == ["100.png", "120.png", "140.png"]
    clouds = og_reid.data.LiftedStore(tmp_path / "store").load()
    plain = og_reid.models.Embedding.cat(gallery.model.embed(clouds)).features
    stored = torch.cat([torch.tensor(block["features"]) for block in blocks])
    assert plain is not None
    assert torch.allclose(stored, plain, atol=1e-5)
    other = filled(tmp_path)
    with pytest.raises(ValueError, match="model must be one of point clouds"):
        other.add(tmp_path / "store")


def test_models_of_parts_are_searched_exactly(tmp_path: Path) -> None:
    from encoder_kinds import encoders

    model = next(each for each in encoders().values() if each.has_parts and each.has_global)
    draw = torch.Generator().manual_seed(0)
    parts = torch.randn(30, 3, 8, generator=draw)
    made = Embedding(torch.randn(30, 8, generator=draw), parts, torch.rand(30, 3, generator=draw))
    gallery = og_reid.Gallery(tmp_path / "g", model)
    gallery.add(made, list(range(30)))
    found = gallery.search(made[:4], k=5)
    best = model.compare(made[:4], made).topk(5)
    assert [[int(each.id) for each in found.ranked(row)] for row in range(4)] == (
        best.indices.tolist()
    )
    assert torch.allclose(found.scores, best.values, atol=0.01)
    assert gallery.build().settings.plan is not None
    with pytest.raises(ValueError, match="made with a model without a name"):
        og_reid.Gallery.open(tmp_path / "g").search(made[:1])


def test_numbers_of_a_gallery(given: og_reid.Gallery) -> None:
    stats = given.stats()
    assert (stats.items, stats.identities, stats.cameras, stats.unlabelled) == (48, 12, 4, 0)
    assert (stats.first, stats.last) == (0.0, 47.0)
    assert stats.disk_bytes > 48 * stats.item_bytes
    assert stats.rounding is not None
    assert stats.rounding < 0.01
    assert "48 items of 12 identities" in str(stats)
    assert "of the exhaustive search found" in str(stats)
    assert len(given) == 48
    assert np.isfinite(given.threshold(0.05))


def test_tasks_of_the_documentation_have_at_most_five_lines() -> None:
    page = Path(__file__).parents[3] / "docs/how-to/gallery.md"
    found = [each for each in blocks(page) if each.language in ("python", "sh")]
    assert len(found) >= 10
    for each in found:
        assert len([line for line in each.code.splitlines() if line.strip()]) <= 5, each.line
