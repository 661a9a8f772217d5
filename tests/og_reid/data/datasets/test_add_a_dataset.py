"""A data set of one's own: one file with a loader and one registration, then everything works."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from og_reid.cli import main

LAB_CAMERAS = '''
"""Images of the lab's cameras: <split>/<camera>_<identity>_<number>.png."""

from pathlib import Path

from og_reid.data import Sample, Splits, register_dataset


def list_lab(root: Path) -> Splits:
    def split(name: str) -> tuple[Sample, ...]:
        found = []
        for path in sorted((root / name).glob("*.png")):
            camera, identity, _ = path.stem.split("_")
            found.append(Sample(path, pid=int(identity), camid=int(camera)))
        return tuple(found)

    return Splits(train=split("train"), query=split("query"), gallery=split("gallery"))


register_dataset("lab", list_lab, overwrite=True)
'''
FILES = {
    "train": ["1_1_0", "2_1_0", "1_2_0", "2_2_0", "1_3_0", "2_3_0"],
    "query": ["1_8_0", "1_9_0"],
    "gallery": ["2_8_0", "2_9_0", "3_9_1"],
}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The images, and the module, which is imported."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, stems in FILES.items():
        (tmp_path / split).mkdir()
        for stem in stems:
            pixels = rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / split / f"{stem}.png")
    (tmp_path / "lab_cameras.py").write_text(LAB_CAMERAS)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("lab_cameras")
    yield tmp_path
    sys.modules.pop("lab_cameras")


def test_an_added_data_set_is_loaded_checked_and_split_in_python(lab: Path) -> None:
    from og_reid.data import ImageSet, check_dataset, holdout_split, load_dataset

    dataset = load_dataset("lab", lab)
    counts = {split: len(dataset.split(split)) for split in FILES}
    assert counts == {split: len(stems) for split, stems in FILES.items()}
    assert [(each.pid, each.camid) for each in dataset.query] == [(8, 1), (9, 1)]
    assert check_dataset(dataset).good

    images = ImageSet(dataset.train, lambda sample: None)
    batch = images.batch([0, 1])
    assert batch.images.shape[:2] == (2, 3)
    assert batch.pids.tolist() == [1, 2]
    split = holdout_split(images.pids, images.camids, 1)
    assert images.pids[split.query].unique().tolist() == [2]
    assert not torch.isin(images.pids[split.train], images.pids[split.query]).any()


def test_the_command_line_lists_and_checks_an_added_data_set(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["datasets"]) == 0
    assert "lab" in capsys.readouterr().out.split()
    assert main(["check", "lab", "--data", str(lab)]) == 0
    out = capsys.readouterr().out
    assert "2 images of 2" in out
    assert "3 images of 2" in out
