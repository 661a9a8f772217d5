"""Search by words over a folder and a gallery, and its training, on few people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meshes.world.labelled import labelled_shards, read_labelled_shard, write_labelled_world
from og_reid.cli import main
from og_reid.pipelines import SearchSpec, WordsSpec, search_words, train_words
from og_reid.pipelines.words import _recolored


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("people")
    world = write_labelled_world(
        root / "world", identities=6, views=1, seed=3, first_identity=500_000,
        occluded_fraction=0.0,
    )  # fmt: skip
    (root / "images").mkdir()
    for path in labelled_shards(world):
        for number, image in enumerate(read_labelled_shard(path).image):
            Image.fromarray(image).save(root / "images" / f"person {number} é.png")
    return root / "images"


def test_a_folder_is_ranked(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.csv"
    found = search_words(SearchSpec(folder, "red jacket, zorblax, backpack", out=out, k=3))
    assert len(found.names) == len(found.scores) == 6
    assert list(found.scores) == sorted(found.scores, reverse=True)
    assert found.unknown == ("zorblax",)
    assert str(found).count("\n") == 3
    assert out.read_text("utf-8").splitlines()[0] == "rank,item,score"
    assert np.ptp(found.scores) > 0.01


def test_a_gallery_gives_the_ranking_of_its_images(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("lancedb")
    from og_reid.gallery import Gallery

    Gallery(tmp_path / "gallery").add(folder)
    spec = SearchSpec(tmp_path / "gallery", "black trousers, short hair")
    stored = search_words(spec)
    direct = search_words(SearchSpec(folder, "black trousers, short hair"))
    assert [Path(name).name for name in stored.names] == [Path(name).name for name in direct.names]
    np.testing.assert_allclose(stored.scores, direct.scores, atol=0.02)


def test_training_writes_a_model_that_searches(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("og_reid.pipelines.words._TEST", 4)
    report = train_words(WordsSpec(tmp_path, identities=6, views=1, steps=12))
    assert len(str(report).splitlines()) == 6
    assert all(0 <= each <= 1 for each in (*report.recall, *report.said, *report.seen))
    for said, seen in zip(report.said, report.seen, strict=True):
        assert seen <= said
    assert report.out.stat().st_size < 1_000_000
    found = search_words(SearchSpec(folder, "red dress", model=report.out))
    assert len(found.names) == 6


def test_a_colour_is_exchanged() -> None:
    assert _recolored("person in red top, no bag") == "person in green top, no bag"
    assert _recolored("no bag, hood") is None


def test_the_command_names_what_is_wrong(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "bad.safetensors"
    broken.write_bytes(b"")
    for arguments, message in (
        ([str(folder), "--words", " ,;"], "--words must describe a person"),
        ([str(tmp_path / "none"), "--words", "red"], "none"),
        ([str(folder), "--words", "red", "--k", "0"], "--k must be at least 1"),
        ([str(folder), "--words", "red", "--out", "a.txt"], "--out must end in .csv"),
        ([str(folder), "--words", "red", "--model", str(broken)], "bad.safetensors"),
    ):
        assert main(["search", *arguments]) == 1
        assert message in capsys.readouterr().err
    assert main(["words", "--out", str(tmp_path), "--steps", "1"]) == 1
    assert "--steps must be at least 10" in capsys.readouterr().err
