"""ImageSet: joints that cannot be pixels of the image hide nothing."""

import warnings

import numpy as np
import pytest
import torch

from og_reid.data import ImageSet, Sample
from pose import Keypoints, to_openpose18
from pose.files.reading import InputWarning

Image = pytest.importorskip("PIL.Image")


def people(scale: float = 1.0, shift: float = 0.0) -> Keypoints:
    """(1, 18) joints in the upper half of 90 x 40 pixels."""
    steps = torch.arange(17)
    xy = torch.stack([8 + steps % 4, 2.5 * steps], -1)[None].float()
    return to_openpose18(Keypoints(xy * scale + shift, torch.full((1, 17), 0.9)))


def set_of(tmp_path, *found, **changes) -> ImageSet:
    samples = []
    for i in range(len(found)):
        pixels = np.random.default_rng(i).integers(0, 256, (90, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        samples.append(Sample(tmp_path / f"{i}.png", i, 1))
    by_path = dict(zip([sample.path for sample in samples], found, strict=True))
    return ImageSet(samples, lambda s: by_path[s.path], size=(48, 32), **changes)


@pytest.mark.parametrize("mode", ["corrected", "reference"])
@pytest.mark.parametrize("bad", [{"shift": 400}, {"scale": 0.01}, {"scale": 50}])
def test_people_outside_the_image_count_as_not_found_with_one_warning(tmp_path, mode, bad):
    data = set_of(tmp_path, people(**bad), people(**bad), people(), mode=mode)
    rows = torch.arange(3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        batch = data.batch(rows)
        data.batch(rows)
    expected = set_of(tmp_path, None, None, people(), mode=mode).batch(rows)
    assert torch.equal(batch.visibility, expected.visibility)
    assert torch.equal(batch.heatmaps[:2], torch.ones_like(batch.heatmaps[:2]))
    (warning,) = caught
    assert warning.category is InputWarning
    assert "in 2 of" in str(warning.message)
    assert "0.png" in str(warning.message)


def test_sound_people_do_not_warn(tmp_path):
    below = people()
    below.xy[0, 4:] += torch.tensor([0, 100.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        set_of(tmp_path, people(), below, None).batch(torch.arange(3))


def test_one_person_may_come_without_a_batch_dimension(tmp_path):
    for bad in ({}, {"shift": 400}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            one = set_of(tmp_path, people(**bad)[0]).batch(torch.arange(1))
            many = set_of(tmp_path, people(**bad)).batch(torch.arange(1))
        assert torch.equal(one.visibility, many.visibility)
        assert torch.equal(one.heatmaps, many.heatmaps)
