import os

import numpy as np
import pytest
import torch

from meshes import lift_images
from og_reid.data import CloudSet
from og_reid.data.clouds.lift_dataset import LiftSettings, lift_dataset
from og_reid.data.sample import Sample
from pose import COCO_17, Keypoints, Pose, read_image


class StandingPerson:
    """Finds a person standing in the middle; none in black images."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1

    def __call__(self, image: np.ndarray) -> Pose:
        if not image.any():
            return Pose(Keypoints.none(COCO_17))
        height, width = image.shape[:2]
        rows = [0.1, 0.09, 0.09, 0.1, 0.1, 0.2, 0.2, 0.35, 0.35, 0.48, 0.48, 0.5, 0.5, 0.7, 0.7,
                0.9, 0.9]  # fmt: skip
        sides = [0, 1, -1, 2, -2, 6, -6, 8, -8, 9, -9, 4, -4, 4, -4, 4, -4]
        xy = torch.tensor(
            [[width / 2 + 0.02 * height * s, height * r] for s, r in zip(sides, rows, strict=True)]
        )
        return Pose(Keypoints(xy, torch.full((17,), 0.9)))


@pytest.fixture
def samples(tmp_path):
    """Five images of one colour each; the last is black."""
    from PIL import Image

    made = []
    for index, shade in enumerate((250, 200, 150, 100, 0)):
        path = tmp_path / f"{index:04d}_c{index % 2 + 1}s1_000001_00.png"
        Image.fromarray(np.full((128, 64, 3), shade, np.uint8)).save(path)
        made.append(Sample(path, index, index % 2 + 1))
    return made


def test_images_become_clouds_in_order(samples):
    steps = []
    clouds = lift_dataset(
        samples,
        estimator=StandingPerson,
        settings=LiftSettings(max_points=200),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert clouds.names == tuple(sample.name for sample in samples)
    assert clouds.pids.tolist() == [0, 1, 2, 3, 4]
    assert clouds.camids.tolist() == [1, 2, 1, 2, 1]
    assert steps == [(5, 5)]
    for index, shade in enumerate((250, 200, 150, 100)):
        rows = slice(int(clouds.ptr[index]), int(clouds.ptr[index + 1]))
        colors, visible = clouds.colors[rows], clouds.visible[rows]
        assert (colors[visible] == shade).all()
        assert (colors[~visible] == 128).all()
        assert len(colors) == 200
        assert visible.sum() > 40
    # Nobody was found in the last: its background stands in.
    assert (clouds.part[clouds.ptr[4] :] == -1).any()


def entries(cache):
    """The kept clouds, one for each image."""
    return sorted(cache.rglob("*.safetensors"))


def folders(cache):
    """One for each setting."""
    return list((cache / "clouds").iterdir())


def test_cached_clouds_are_reused(samples, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = lift_dataset(samples, estimator=StandingPerson, cache=cache)
    part = entries(cache)[2]
    assert len(entries(cache)) == 5
    before = StandingPerson.made, part.stat().st_mtime_ns

    def never(self: StandingPerson, image: np.ndarray) -> Pose:
        raise AssertionError("the cache was not used")

    monkeypatch.setattr(StandingPerson, "__call__", never)
    second = lift_dataset(samples, estimator=StandingPerson, cache=cache)
    assert torch.equal(first.points, second.points)
    assert (StandingPerson.made, part.stat().st_mtime_ns) == before


def test_a_damaged_or_outdated_entry_is_made_again(samples, tmp_path):
    cache = tmp_path / "cache"
    first = lift_dataset(samples, estimator=StandingPerson, cache=cache)
    whole = {part: part.read_bytes() for part in entries(cache)}
    for damaged in (list(whole), list(whole)[1:2]):  # together, and one without its company
        for part in damaged:
            part.write_bytes(whole[part][:100])
        again = lift_dataset(samples, estimator=StandingPerson, cache=cache)
        torch.testing.assert_close(again.points, first.points, atol=1e-5, rtol=0)
        assert torch.equal(again.colors, first.colors)
        assert all(part.stat().st_size == len(whole[part]) for part in whole)
    os.utime(samples[0].path, ns=(1, 1))  # the same image
    lift_dataset(samples, estimator=StandingPerson, cache=cache)
    assert len(entries(cache)) == 5
    samples[0].path.write_bytes(samples[0].path.read_bytes() + b"\0")  # another one
    lift_dataset(samples, estimator=StandingPerson, cache=cache)
    assert len(entries(cache)) == 6
    lift_dataset(samples, estimator=StandingPerson, cache=cache, settings=LiftSettings(100))
    assert len(folders(cache)) == 2


def test_an_unreadable_image_is_named(samples):
    samples[2].path.write_bytes(b"not an image")
    with pytest.raises(ValueError, match=samples[2].name):
        lift_dataset(samples, estimator=StandingPerson)


@pytest.mark.parametrize(
    ("count", "workers", "message"), [(0, 1, "at least one"), (5, 0, "workers")]
)
def test_bad_arguments_are_refused(samples, count, workers, message):
    with pytest.raises(ValueError, match=message):
        lift_dataset(samples[:count], estimator=StandingPerson, workers=workers)


class OtherPerson(StandingPerson):
    pass


def test_another_estimator_has_entries_of_its_own(samples, tmp_path):
    lift_dataset(samples, estimator=StandingPerson, cache=tmp_path / "cache")
    lift_dataset(samples, estimator=OtherPerson, cache=tmp_path / "cache")
    assert len(folders(tmp_path / "cache")) == 2


def test_canonical_clouds_have_one_pose(samples, tmp_path):
    """Their points are those of one pose, and the cache keeps parts apart."""
    settings = LiftSettings(max_points=200)
    common = {"estimator": StandingPerson, "settings": settings, "cache": tmp_path / "cache"}
    posed = lift_dataset(samples[:2], **common)
    resting = lift_dataset(samples[:2], **common, canonical=True)
    assert len(folders(tmp_path / "cache")) == 2
    assert not torch.equal(posed.points, resting.points)
    for index, sample in enumerate(samples[:2]):
        image = read_image(sample.path)
        (lift,) = lift_images([image], [StandingPerson()(image)], background=settings.background)
        alone = CloudSet.from_clouds([(lift.canonical(), 0, 0, "")], max_points=200)
        rows = slice(int(resting.ptr[index]), int(resting.ptr[index + 1]))
        torch.testing.assert_close(resting.points[rows], alone.points, atol=1e-5, rtol=0)
    again = lift_dataset(samples[:2], **common, canonical=True)
    assert torch.equal(again.points, resting.points)


class LeftHalf:
    """Masks of the left halves of images."""

    def __init__(self, name: str = "left") -> None:
        self.settings = {"type": name}

    def __call__(self, images, poses):
        masks = [torch.zeros(image.shape[:2]) for image in images]
        for mask in masks:
            mask[:, : mask.shape[1] // 2] = 1
        return masks


def test_masks_choose_the_points_and_have_entries_of_their_own(samples, tmp_path):
    cache, settings = tmp_path / "cache", LiftSettings(max_points=300)
    common = {"estimator": StandingPerson, "settings": settings, "cache": cache}
    whole = lift_dataset(samples[:2], **common)
    halves = lift_dataset(samples[:2], masks=LeftHalf(), workers=2, **common)
    assert len(folders(cache)) == 2
    assert (whole.points[whole.visible][:, 0] > 0.05).any()
    assert not (halves.points[halves.visible][:, 0] > 0.05).any()
    assert halves.visible.any()
    assert torch.equal(halves.points, lift_dataset(samples[:2], masks=LeftHalf(), **common).points)
    lift_dataset(samples[:2], masks=LeftHalf("other"), **common)
    assert len(folders(cache)) == 3
