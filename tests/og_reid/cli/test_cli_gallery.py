"""The command of galleries."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("lancedb")

from og_reid.cli import main
from og_reid.pipelines import GallerySpec
from rendered_people import one_person


def test_a_gallery_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, seed in (("a/0", 1), ("a/1", 2), ("b/0", 3)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(one_person(seed)).save(f"{name}.png")

    def run(*words: str) -> str:
        assert main(["gallery", *words]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    assert run("add", "g", "a", "b/0.png", "--from-folders", "--camera", "c").startswith("2 new")
    assert "3 unchanged" not in run("add", "g", "a", "--from-folders", "--camera", "c")
    assert "1. b/0.png  score" in run("search", "g", "b/0.png", "--camera", "c")
    assert "no items are ranked" in run("search", "g", "b/0.png", "--where", "camera=x")
    assert "b/0.png: match: b (b/0.png)" in run(
        "identify", "g", "b/0.png", "--false-accept-rate", "0.3"
    )
    assert "3 items of 2 identities" in run("stats", "g")
    assert run("export", "g", "all.parquet") == "3 items in all.parquet\n"
    assert run("import", "h", "all.parquet") == "3 new, 0 replaced, 0 unchanged\n"
    assert run("merge", "g", "a", "b") == "1 item now a\n"
    assert run("forget", "g", "--identity", "a") == "3 items forgotten\n"
    assert main(["gallery", "stats", "nothing"]) == 1
    assert "no gallery" in capsys.readouterr().err


def test_specifications_are_checked() -> None:
    for given, text in (
        ({"action": "search"}, "search needs at least one INPUT"),
        ({"action": "stats", "inputs": ("x",)}, "stats takes no INPUT"),
        ({"action": "forget"}, "needs --identity"),
        ({"action": "build", "where": ("x",)}, "FIELD=VALUE"),
        ({"action": "build", "k": 0}, "--k must be at least 1"),
        ({"action": "burn"}, "action"),
    ):
        with pytest.raises(ValueError, match=text):
            GallerySpec(gallery=Path("g"), **given)  # type: ignore[arg-type]
