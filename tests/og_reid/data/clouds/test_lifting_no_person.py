"""Images without a person among those that are lifted in bulk."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from og_reid.data.clouds.lift_dataset import LiftSettings, lift_dataset
from og_reid.data.sample import Sample
from pose import COCO_17, Keypoints, Pose
from pose.files.reading import InputWarning

PERSON = "no person was found in"
SMALL = LiftSettings(max_points=64)


class PersonUnlessBlack:
    """Finds a standing person in each image that is not black."""

    def __call__(self, image: np.ndarray) -> Pose:
        if not image.any():
            return Pose(Keypoints.none(COCO_17))
        height, width = image.shape[:2]
        rows = torch.tensor([.1, .09, .09, .1, .1, .2, .2, .35, .35, .48, .48, .5, .5, .7, .7,
                             .9, .9])  # fmt: skip
        sides = torch.tensor([0, 1, -1, 2, -2, 6, -6, 8, -8, 9, -9, 4, -4, 4, -4, 4, -4.0])
        xy = torch.stack([width / 2 + 0.02 * height * sides, height * rows], dim=1)
        return Pose(Keypoints(xy, torch.full((17,), 0.9)))


def samples(folder: Path, shades: list[int]) -> list[Sample]:
    """An image of so much red each, in all other colours; black for 0."""
    colours = np.random.default_rng(0).integers(60, 256, (96, 48, 3), np.uint8)
    made = []
    for place, shade in enumerate(shades):
        path = folder / f"{place + 1:04d}_c1s1_000001_00.png"
        colours[..., 0] = shade
        Image.fromarray(colours if shade else np.zeros_like(colours)).save(path)
        made.append(Sample(path, place + 1, 1))
    return made


def lifted(given: list[Sample], **options: object) -> list[str]:
    """The warnings of a lift."""
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        lift_dataset(given, estimator=PersonUnlessBlack, settings=SMALL, **options)  # type: ignore[arg-type]
    return [str(each.message) for each in raised if each.category is InputWarning]


def test_images_without_a_person_are_counted_and_named_once(tmp_path: Path) -> None:
    (text,) = [
        each for each in lifted(samples(tmp_path, [200, 0, 150, 0, 0, 0, 0])) if PERSON in each
    ]
    assert "no person was found in 5 of 7 images" in text
    assert "0002_c1s1_000001_00.png" in text
    assert "0001_c1s1" not in text


def test_cached_images_without_a_person_are_counted(tmp_path: Path) -> None:
    given = samples(tmp_path, [200, 0])
    first = lifted(given, cache=tmp_path / "cache")
    assert lifted(given, cache=tmp_path / "cache") == first
    assert [PERSON in each for each in first].count(True) == 1
    assert "in 1 of 2 images" in next(each for each in first if PERSON in each)


def test_images_of_people_are_lifted_without_a_warning(tmp_path: Path) -> None:
    assert lifted(samples(tmp_path, [200, 150])) == []


def test_the_warning_describes_the_clouds(tmp_path: Path) -> None:
    with pytest.warns(InputWarning, match="resting pose and the background: .*crop"):
        lift_dataset(samples(tmp_path, [0]), estimator=PersonUnlessBlack, settings=SMALL)
