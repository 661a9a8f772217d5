"""Prompts from keypoints and masks, and sets of images with prompts."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from og_reid.data.images.prompted_set import PromptedSet, resize_image
from og_reid.data.images.prompts import SIGMA, keypoint_prompt, mask_prompt
from og_reid.data.labelled.prompts import point_map
from og_reid.data.sample import Sample
from pose import COCO_17, Keypoints

SIZE, CELLS = (64, 32), (8, 4)


def person(x: float, y: float, joint: int = 0, visibility: float = 1.0) -> Keypoints:
    """One joint at a place; the others were not found."""
    xy, score = torch.zeros(17, 2), torch.zeros(17)
    xy[joint] = torch.tensor([x, y])
    score[joint] = 1.0
    return Keypoints(xy, score, score * visibility, names=COCO_17)


def test_a_joint_is_a_gaussian_around_its_place() -> None:
    found = keypoint_prompt(person(12.0, 28.0), SIZE, CELLS)
    assert found.shape == (2, *CELLS)
    expected = torch.zeros(CELLS)
    for row in range(8):
        for column in range(4):
            away = (column + 0.5 - 1.5) ** 2 + (row + 0.5 - 3.5) ** 2
            expected[row, column] = np.exp(-away / (2 * (SIGMA * 8) ** 2))
    torch.testing.assert_close(found[0], expected)
    assert not found[1].any()
    assert found[0].argmax() == 3 * 4 + 1
    # The same place of an image of another size and aspect.
    wide = keypoint_prompt(person(120.0, 14.0), (32, 320), CELLS)
    torch.testing.assert_close(wide, found)


def test_joints_look_as_points_do_in_training() -> None:
    points = np.array([[9.5, 20.5], [25.5, 40.5]], np.float32)  # pixels by their centre
    joints = Keypoints(
        torch.from_numpy(points + 0.5), torch.ones(2), names=("left_knee", "right_knee")
    )
    found = keypoint_prompt(joints, SIZE, CELLS)[0]
    torch.testing.assert_close(found, torch.from_numpy(point_map(points, SIZE)))


def test_the_first_person_is_meant_and_all_others_are_not() -> None:
    people = Keypoints.stack([person(4.0, 4.0), person(28.0, 60.0), person(4.0, 60.0, 3)])
    found = keypoint_prompt(people, SIZE, CELLS)
    alone = [keypoint_prompt(people[i], SIZE, CELLS)[0] for i in range(3)]
    assert torch.equal(found[0], alone[0])
    assert torch.equal(found[1], torch.maximum(alone[1], alone[2]))


@pytest.mark.parametrize(
    "people",
    [
        person(12.0, 28.0, visibility=0.1),  # hidden
        person(-5.0, 28.0),
        person(12.0, 70.0),
        Keypoints.none(COCO_17),
        Keypoints.stack([person(1.0, 1.0)])[:0],
        Keypoints(torch.full((17, 2), 500.0), torch.ones(17)),  # pixels of another image
    ],
)
def test_joints_that_show_nothing_are_no_evidence(people: Keypoints) -> None:
    assert not keypoint_prompt(people, SIZE, CELLS).any()


def test_masks_are_averaged_over_cells() -> None:
    mask = np.zeros(SIZE, bool)
    mask[:16] = True
    found = mask_prompt(mask, SIZE, CELLS)
    assert not found[1].any()
    assert torch.equal(found[0], torch.cat([torch.ones(2, 4), torch.zeros(6, 4)]))
    mask[16:18] = True
    assert (mask_prompt(mask, SIZE, CELLS)[0, 2] == 0.25).all()
    found = mask_prompt(mask, SIZE, CELLS)
    both = mask_prompt(torch.from_numpy(np.stack([mask, ~mask])).float(), SIZE, CELLS)
    torch.testing.assert_close(both[0], found[0])
    torch.testing.assert_close(both.sum(0), torch.ones(CELLS))
    one = mask_prompt(np.ones((1, 1), np.uint8), (1, 1), CELLS)  # fewer pixels than cells
    assert (one[0] == 1).all()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((32, 64)), r"mask must be \(64, 32\) real numbers"),
        (np.ones((3, 64, 32)), "or \\(2, height, width\\)"),
        (np.ones((64, 32)) * 255, r"in \[0, 1\]; got other values or NaN"),
        (np.full((64, 32), np.nan), r"in \[0, 1\]"),
        (-np.ones((64, 32)), r"in \[0, 1\]"),
        (np.ones((64, 32), complex), "real numbers"),
        (torch.zeros(0), "mask must be"),
    ],
)
def test_other_masks_are_refused(mask: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mask_prompt(mask, SIZE, CELLS)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    found = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((20 + number, 10, 3), 10 * number, np.uint8)).save(path)
        found.append(Sample(path, number, number % 2))
    return found


def test_images_are_read_and_resized_in_order(samples: list[Sample]) -> None:
    whole = PromptedSet(samples, size=(32, 16))
    batch = whole.batch([3, 1])
    assert batch.images.shape == (2, 3, 32, 16)
    assert batch.prompt is None
    assert batch.images.flatten(1).unique(dim=1).tolist() == [[30.0], [10.0]]
    assert (len(whole), whole.names[1], whole.pids.tolist()) == (5, "1.png", [0, 1, 2, 3, 4])
    assert whole.camids.tolist() == [0, 1, 0, 1, 0]
    threaded = PromptedSet(samples, size=(32, 16), threads=3).batch(range(5))
    assert torch.equal(threaded.images, whole.batch(range(5)).images)


def test_images_without_a_prompt_have_zeros_beside_others(samples: list[Sample]) -> None:
    def prompt(sample: Sample, image: np.ndarray) -> torch.Tensor | None:
        assert image.shape == (20 + sample.pid, 10, 3)
        return torch.ones(2, 4, 2) if sample.pid == 2 else None

    whole = PromptedSet(samples, size=(32, 16), prompt=prompt)
    assert whole.batch([0, 1]).prompt is None
    found = whole.batch([2, 0]).prompt
    assert found is not None
    assert found.flatten(1).mean(1).tolist() == [1.0, 0.0]


def test_odd_sets_are_refused(samples: list[Sample], tmp_path: Path) -> None:
    for arguments, message in (
        ({"samples": []}, "at least one image"),
        ({"size": (30, 16)}, "multiples of 16"),
        ({"size": (0, 16)}, "at least 16"),
        ({"threads": 0}, "threads must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            PromptedSet(**{"samples": samples, "size": (32, 16), **arguments})
    with pytest.raises(ValueError, match="rows must name at least one"):
        PromptedSet(samples, size=(32, 16)).batch([])
    (tmp_path / "0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"0\.png"):
        PromptedSet(samples, size=(32, 16)).batch([0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (16, 16), (511, 77)])
def test_images_of_any_size_are_resized(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = resize_image(image, (32, 16))
    assert found.shape == (3, 32, 16)
    assert found.dtype == torch.float32
    assert ((found >= image.min()) & (found <= image.max())).all()
    mean = torch.from_numpy(image.mean((0, 1))).float()
    if min(shape) >= 16:
        torch.testing.assert_close(found.mean((1, 2)), mean, atol=6.0, rtol=0)


def test_shrinking_averages_instead_of_picking() -> None:
    stripes = np.zeros((256, 128, 3), np.uint8)
    stripes[::2] = 200
    found = resize_image(stripes, (32, 16))
    torch.testing.assert_close(found, torch.full((3, 32, 16), 100.0), atol=8.0, rtol=0)
    own = np.arange(32 * 16 * 3, dtype=np.int64).astype(np.uint8).reshape(32, 16, 3)
    assert torch.equal(resize_image(own[:, ::-1], (32, 16)).flip(-1), resize_image(own, (32, 16)))
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        resize_image(own.astype(np.float32), (32, 16))


def test_read_only_images_give_no_warning() -> None:
    image = np.zeros((32, 16, 3), np.uint8)
    image.flags.writeable = False  # as np.asarray(a PIL image) is
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # otherwise once in a process
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert resize_image(image, (32, 16)).shape == (3, 32, 16)
    finally:
        torch.set_warn_always(always)


def test_threads_read_one_set(samples: list[Sample]) -> None:
    whole = PromptedSet(samples, size=(32, 16), threads=2)
    found: list[torch.Tensor] = []
    threads = [
        threading.Thread(target=lambda: found.append(whole.batch(range(5)).images))
        for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(torch.equal(each, found[0]) for each in found)
    assert len(found) == 4
