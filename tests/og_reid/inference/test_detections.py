"""Boxes of detectors: crops, prompts, and embeddings in the order of the boxes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import og_reid
from mean_color import COLORS, MeanColor, frame
from og_reid.inference import Encoder, crop_people
from og_reid.inference.detections import as_boxes

SIZE = (120, 200)
PEOPLE = [(0, (10, 20, 40, 100)), (1, (60, 10, 90, 90)), (2, (150, 30, 190, 119))]
BOXES = np.array([box for _, box in PEOPLE], np.float32)


def supervised(boxes: Any, mask: Any = None) -> Any:
    """As `supervision.Detections` holds them."""
    return SimpleNamespace(xyxy=boxes, mask=mask, class_id=None)


@pytest.mark.parametrize(
    "given", [BOXES, BOXES.tolist(), torch.from_numpy(BOXES), supervised(BOXES)]
)
def test_rows_are_those_of_the_boxes(given: Any) -> None:
    image, model = frame(PEOPLE), MeanColor()
    found = og_reid.embed(image, model, detections=given)  # type: ignore[call-overload]
    unit = np.array(COLORS[:3]) / np.linalg.norm(COLORS[:3], axis=1, keepdims=True)
    assert found.shape == (3, 3)
    assert float((found * torch.from_numpy(unit).float()).sum(1).min()) > 0.97
    assert model.seen == [3], "one call"
    described = og_reid.describe(image, model, detections=given)  # type: ignore[arg-type]
    torch.testing.assert_close(described.features, found)


@pytest.mark.parametrize("none", [[], np.zeros((0, 4)), supervised(np.zeros((0, 4), np.float32))])
def test_no_boxes_are_no_rows_of_the_models_layout(none: Any, known: dict[str, Encoder]) -> None:
    found = og_reid.embed(frame([]), MeanColor(), detections=none)  # type: ignore[call-overload]
    assert found.shape == (0, 3)
    described = og_reid.describe(frame([]), known["dense"], detections=none)
    assert len(described) == 0
    assert described.local is not None
    assert described.local.layout == (8, 16, 6)


def test_crops_have_a_margin_and_end_at_the_border() -> None:
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    boxes = [[20, 20, 60, 80], [-50, 60, 40, 500], [0, 0, 200, 120]]
    crops = crop_people(image, boxes).images
    for crop, wanted in zip(crops, (image[17:83, 18:62], image[57:120, 0:42], image), strict=True):
        assert np.array_equal(crop, wanted)


@pytest.mark.parametrize("box", [[50, 50, 51, 51], [0, 0, 1, 1], [198.5, 119, 300, 300]])
def test_small_boxes_are_widened_to_the_least_image(box: list[float]) -> None:
    (crop,) = crop_people(np.zeros((*SIZE, 3), np.uint8), [box]).images
    assert crop.shape[0] in (16, 17)
    assert crop.shape[1] in (8, 9)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0, 0, 9, 9], [5, 5, 5, 9]], r"row 1: a box must have right > left and bottom > top"),
        ([[0, 0, 9, 9], [0, 0, np.nan, 9]], r"row 1: a box must be finite"),
        ([[200, 0, 230, 9]], r"row 0: a box must overlap the image of 200 x 120 pixels; got"),
        ([[0, -9, 9, 0]], r"row 0: a box must overlap the image"),
        ([[0, 0, 9]], r"boxes \(N, 4\).*; got shape \(1, 3\)"),
        ([0, 0, 9, 9], r"got shape \(4,\)"),
        ("people", r"must be \(N, 4\) numbers"),
    ],
)
def test_wrong_boxes_are_named(boxes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_boxes(boxes, SIZE)


def test_a_person_alone_needs_no_prompt_and_one_of_two_does() -> None:
    boxes = [[10, 10, 50, 110], [40, 10, 80, 118], [150, 10, 190, 110]]
    first, second, alone = crop_people(np.zeros((*SIZE, 3), np.uint8), boxes).masks
    assert alone is None
    assert first is not None
    assert second is not None
    assert first.shape == (2, *crop_people(frame([]), boxes).images[0].shape[:2])
    assert first.max() > 0.9
    # The crop of the first begins at (8, 5): its marks lie on x = 30, in its column 22.
    rows, columns = np.nonzero(first[0] > 0.95)
    assert abs(columns - 22).max() <= 2
    assert rows.min() > 15
    # The middle line of the second, x = 60, lies outside of the first one's crop.
    assert first[1].max() == 0


def test_marks_of_others_in_the_crop_and_what_is_in_front() -> None:
    boxes = [[20, 10, 60, 80], [35, 30, 75, 110]]  # the second is in front
    behind, front = crop_people(np.zeros((*SIZE, 3), np.uint8), boxes).masks
    assert behind is not None
    assert front is not None
    corner = np.array([6, 18])  # row and column
    others = np.argwhere(behind[1] > 0.9) + corner
    assert abs(others[:, 1] - 55).max() <= 3, "the other's middle line"
    own = np.argwhere(behind[0] > 0.9) + corner
    assert own[:, 0].max() < 30 + 5, "marks inside of the box in front are left out"
    assert (np.argwhere(front[0] > 0.9)[:, 0] + 26).max() > 70


def test_masks_of_the_detector_take_the_place_of_marks(known: dict[str, Encoder]) -> None:
    image = frame(PEOPLE[:2])
    mask = np.zeros((2, *SIZE), bool)
    mask[0, 20:100, 10:40] = mask[1, 10:90, 60:90] = True
    found = crop_people(image, supervised(BOXES[:2], mask))
    assert found.masks[0] is not None
    assert found.masks[0][0].sum() == 80 * 30
    assert found.masks[0][1].sum() == 0
    with pytest.raises(ValueError, match=r"masks of shape \(2, 120, 200\); got \(2, 4, 4\)"):
        crop_people(image, supervised(BOXES[:2], mask[:, :4, :4]))
    plain = og_reid.describe(image, known["dense"], detections=BOXES[:2])
    masked = og_reid.describe(image, known["dense"], detections=supervised(BOXES[:2], mask))
    assert plain.local is not None
    assert masked.local is not None
    assert not torch.equal(plain.local.weights, masked.local.weights)


def test_prompts_change_the_embedding_of_the_dense_model(known: dict[str, Encoder]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    boxes = [[20, 10, 60, 110], [40, 20, 90, 118]]
    both = og_reid.describe(image, known["dense"], detections=boxes)
    one = og_reid.describe(image, known["dense"], detections=boxes[:1])
    assert both.local is not None
    assert one.local is not None
    assert not torch.equal(both.local.weights[0], one.local.weights[0])


def test_models_and_arguments_that_do_not_go_with_boxes(known: dict[str, Encoder]) -> None:
    image = frame(PEOPLE)
    with pytest.raises(ValueError, match="detections are for models of images"):
        og_reid.embed(image, known["cloud"], detections=BOXES)
    with pytest.raises(ValueError, match="must be left out with detections"):
        og_reid.describe(image, known["dense"], detections=BOXES, masks=np.ones(SIZE))
    for call in (og_reid.embed, og_reid.describe):
        with pytest.raises(ValueError, match="by name"):
            call(image, BOXES)  # type: ignore[operator]
