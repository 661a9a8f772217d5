"""The commands on one's own folders: notes, layouts, and mistakes that are found at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from og_reid.cli import main
from og_reid.data import Sample, Splits
from og_reid.pipelines import data as pipeline_data
from og_reid.pipelines.data import DataSpec, can_validate
from og_reid.pipelines.samples import unlabelled_samples

Capture = pytest.CaptureFixture[str]


def photo(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 32), (shade, 255 - shade, 90)).save(path)
    return path


def people(root: Path, count: int = 6) -> Path:
    for person in range(1, count + 1):
        for number in range(2):
            photo(root / f"{person}" / f"{number}.png", 20 * person + number)
    return root


@pytest.mark.usefixtures("lifted")
def test_a_search_needs_no_training_images(tmp_path: Path, capsys: Capture) -> None:
    photo(tmp_path / "Query" / "0001_c1s1_000001_00.jpg", 10)
    photo(tmp_path / "gallery" / "0001_c2s1_000001_00.jpg", 20)
    photo(tmp_path / "gallery" / "0002_c2s1_000001_00.jpg", 30)
    assert main(["evaluate", "--data", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert "100.0" in captured.out
    assert captured.err.count("note: 1 query of 1 identity: one query moves rank-1 by 100") == 1
    command = ["train", "synthetic/og_net_small", "--data", str(tmp_path), "--out"]
    assert main([*command, str(tmp_path / "run")]) == 1
    assert f"{tmp_path} has no training images: it is for testing only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ([], "holds no bounding_box_test"),
        (["--dataset", "folder"], "must hold images as <identity>/<image>; got none"),
        (["--dataset", "market-1501"], "holds no bounding_box_train"),
        (["--dataset", "csv"], "line 2: there is no file"),
    ],
)
def test_mistakes_in_the_data_are_found_without_torch(
    tmp_path: Path, dataset: list[str], message: str
) -> None:
    (tmp_path / "query").mkdir()
    (tmp_path / "query" / "list.csv").write_text("path,pid\nx.jpg,1\n")
    data = tmp_path / "query" / "list.csv" if "csv" in dataset else tmp_path
    code = (
        "import sys\n"
        "from og_reid.cli import main\n"
        f"assert main(['evaluate', '--data', {str(data)!r}, *{dataset!r}]) == 1\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert message in done.stderr
    assert done.stdout == "False\n"


@pytest.mark.usefixtures("lifted")
def test_images_are_listed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    root = people(tmp_path)
    photo(root / "loose.png", 250)
    calls = []
    load = pipeline_data.load_named
    monkeypatch.setattr(
        pipeline_data, "load_named", lambda *a, **k: calls.append(a) or load(*a, **k)
    )
    assert main(["evaluate", "--dataset", "folder", "--data", str(root)]) == 0
    assert len(calls) == 1
    error = capsys.readouterr().err
    assert error.count("loose.png") == 1
    assert "InputWarning" not in error
    assert error.count("are for training, the others for testing") == 1


@pytest.mark.usefixtures("lifted")
def test_an_ambiguous_layout_is_refused_with_its_option(tmp_path: Path, capsys: Capture) -> None:
    for camera in "AB":
        for person in range(6):
            photo(tmp_path / f"cam {camera}" / f"p{person}.png", 20 * person + (camera == "A"))
    command = ["evaluate", "--dataset", "folder", "--data", str(tmp_path)]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "people (<identity>/.../<image>): 2 identities (cam A, cam B), 12 images" in error
    assert "6 identities (p0, p1, p2 and 3 more) in 2 cameras (cam A, cam B)" in error
    assert main([*command, "--layout", "cameras"]) == 0
    assert "queries of" in capsys.readouterr().err
    assert main(["check", "folder", "--data", str(tmp_path), "--layout", "cameras"]) == 0
    assert main(["evaluate", "--data", str(tmp_path), "--layout", "cameras"]) == 1
    assert "--layout cameras is for --dataset folder" in capsys.readouterr().err
    assert main(["check", "mars", "--data", str(tmp_path), "--layout", "people"]) == 1
    assert "layout is for the data set folder" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["0", "0.5"])
def test_identities_of_one_image_each_cannot_be_evaluated(
    tmp_path: Path, capsys: Capture, share: str
) -> None:
    for number in range(8):
        (tmp_path / f"p{number}").mkdir()
        (tmp_path / f"p{number}" / "1.jpg").write_bytes(b"image %d" % number)
    command = ["evaluate", "--dataset", "folder", "--data", str(tmp_path), "--train-share", share]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "no test identity has 2 images" in error
    assert "--train-share 0" not in error


def test_a_data_set_of_training_identities_alone_is_refused(
    tmp_path: Path, capsys: Capture
) -> None:
    root = people(tmp_path / "all", 1)  # the hash puts this identity to training
    assert main(["evaluate", "--dataset", "folder", "--data", str(root)]) == 1
    error = capsys.readouterr().err
    assert "folder has no queries or no gallery to evaluate on: all 1 identities are for" in error
    assert "put test images into folders query and gallery" in error
    assert main(["check", "folder", "--data", str(root), "--train-share", "0"]) == 0
    assert "train            0 images of 0 identities" in capsys.readouterr().out
    for dataset in ([], ["--dataset", "mars"]):
        command = ["evaluate", "--data", str(root), "--train-share", "0", *dataset]
        assert main(command) == 1
        assert "is for --dataset folder" in capsys.readouterr().err


def test_a_validation_without_matches_is_refused_before_lifting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "og_reid")

    def sample(pid: int, camid: int) -> Sample:
        return Sample(Path("x"), pid, camid)

    train = (sample(1, 1),)
    alone = Splits(train, (sample(3, 1),), (sample(3, 1), sample(4, 2)))
    assert not can_validate(alone)
    assert "not validated: no query has a match of another camera" in caplog.text
    assert can_validate(Splits(train, (sample(3, 1),), (sample(3, 2),)))


def test_unlabelled_images_of_all_formats_are_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("b/2.JFIF", "a/1.png", ".hidden.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 32)).save(path, format="PNG")
    (tmp_path / "3.heic").touch()
    found = unlabelled_samples(DataSpec(unlabelled=tmp_path))
    assert [each.path.name for each in found] == ["1.png", "2.JFIF"]
    assert "left out: 1 HEIC image" in caplog.text
