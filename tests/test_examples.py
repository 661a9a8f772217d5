"""The scripts of examples/, each on tiny inputs: they run, and write what they promise."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rendered_people import one_person

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four identities in three cameras, in the layout of Occluded-DukeMTMC."""
    root = tmp_path_factory.mktemp("Occluded_Duke")
    for pid in range(1, 5):
        image = one_person(pid)
        for camera, folder in ((1, "query"), (2, "bounding_box_test")):
            save(root / folder / f"{pid:04}_c{camera}_f0000001.jpg", image, camera)
        for camera in (1, 2):
            save(
                root / "bounding_box_train" / f"{10 + pid:04}_c{camera}_f0000001.jpg", image, camera
            )
    return root


@pytest.fixture(scope="module")
def own(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images with names of Market-1501."""
    root = tmp_path_factory.mktemp("own")
    for path in sorted(tree.glob("*/*.jpg")):
        target = root / path.parent.name / path.name.replace("_f0000001", "s1_000001_00")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    return root


def save(path: Path, image: np.ndarray, camera: int) -> None:
    """The image, darker in every further camera."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image * (1.1 - 0.1 * camera)).astype(np.uint8)).save(path)


def run(name: str, *arguments: object, **named: object) -> None:
    runpy.run_path(str(ROOT / "examples" / name))["main"](*map(str, arguments), **named)


def is_image(path: Path) -> bool:
    with Image.open(path) as image:
        return min(image.size) > 100 and len(np.unique(np.asarray(image))) > 30


def test_scripts_are_few_and_short() -> None:
    assert 1 <= len(SCRIPTS) <= 6
    for script in SCRIPTS:
        assert len(script.read_text().splitlines()) < 60, script
        command = f"python examples/{script.name} "
        assert command in script.read_text(), "each script names its command"
        assert command in (ROOT / "docs/how-to/examples.md").read_text()
        assert f"def test_{script.stem}(" in Path(__file__).read_text(), "each script is run here"


def test_lift_and_view(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mediapipe")
    Image.fromarray(one_person(1)).save(tmp_path / "photo.png")
    run("lift_and_view.py", tmp_path / "photo.png", tmp_path / "out")
    assert is_image(tmp_path / "out" / "cloud.png")
    assert (tmp_path / "out" / "cloud.ply").stat().st_size > 10_000
    assert "Lift of photo.png" in (tmp_path / "out" / "lift.html").read_text()
    assert "seen on the body" in capsys.readouterr().out


def test_compare_two(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = sorted((tree / "query").iterdir())[:2]
    run("compare_two.py", one, other, tmp_path / "why.png")
    assert is_image(tmp_path / "why.png")
    assert "similarity 0." in capsys.readouterr().out


def test_rank_folder(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = sorted((tree / "query").iterdir())[2]
    run("rank_folder.py", query, tree / "bounding_box_test", tmp_path / "ranking.png")
    assert is_image(tmp_path / "ranking.png")
    assert "0003_c2" in capsys.readouterr().out


def test_occluded_duke(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("occluded_duke.py", tree, tmp_path / "results", verify=False)
    text = (tmp_path / "results" / "page.html").read_text()
    assert all(f">{title}</text>" in text for title in ("CMC", "ROC", "DET"))
    assert (tmp_path / "results" / "evaluation.json").is_file()
    assert "re-ranked" in capsys.readouterr().out


def test_train_own_folder(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mediapipe")
    settings = ("budget.steps=2", "data.num_ids=2", "data.num_instances=2", "data.num_points=512")
    run("train_own_folder.py", own, tmp_path / "run", *settings)
    text = (tmp_path / "run" / "page.html").read_text()
    assert ">loss</text>" in text
    assert ">CMC</text>" in text
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_world_light(tmp_path: Path) -> None:
    run("world_light.py", tmp_path / "world.png", 2)
    with Image.open(tmp_path / "world.png") as image:
        sheet = np.asarray(image).astype(int)
    assert is_image(tmp_path / "world.png")
    height, width = (side // 2 for side in sheet.shape[:2])
    # The light differs, and the camera.
    assert abs(sheet[:height, :width] - sheet[:height, width : 2 * width]).mean() > 3
    assert abs(sheet[height : 2 * height, :width] - sheet[:height, :width]).mean() > 3
