"""Boxes of a detector in an image: crops, and prompts for the person of each box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from pose import read_image

from .encoder import Encoder, GivenInput

__all__ = [
    "BOX_MARGIN",
    "DetectedPeople",
    "as_boxes",
    "check_named",
    "crop_people",
    "detected_input",
    "takes_marks",
]

#: Margin of crops around a box, fraction of its width and height on each side.
BOX_MARGIN = 0.05
# Crops are not smaller, as images are not (`pose.read_image`): rows and columns.
_LEAST = (16, 8)
# Places on the middle line of a box that prompts mark, fractions of its height from the top.
_MARKS = (0.2, 0.4, 0.6)
_SIGMA = 0.06  # of a mark, fraction of the crop's height, as of keypoints
_APART = 2.0  # sigmas between marks of the person and of others


@dataclass(frozen=True, eq=False)
class DetectedPeople:
    """People in one image.

    Attributes:
        images: Crop of each person, (h, w, 3) uint8 RGB.
        masks: Prompt of each person, see `og_reid.inference.encoder.GivenInput.masks`: (2, h, w)
            float32 in [0, 1], the person of the box and others; None for a person alone in its
            crop.
    """

    images: tuple[np.ndarray, ...]
    masks: tuple[np.ndarray | None, ...]


def as_boxes(detections: Any, size: tuple[int, int]) -> np.ndarray:
    """(N, 4) float64 left, top, right and bottom, cut at the borders of an image.

    Args:
        detections: Object with boxes as ``xyxy``, such as ``supervision.Detections``, or the boxes
            themselves: left, top, right and bottom in pixels, (N, 4); an empty sequence for none.
        size: Height and width of the image in pixels.

    Raises:
        ValueError: Boxes have another shape, or a box is not finite, without area, or outside of
            the image; the message has its row.
    """
    given = getattr(detections, "xyxy", detections)
    given = given.detach().cpu().numpy() if isinstance(given, Tensor) else given
    try:
        boxes = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"detections must be (N, 4) numbers; {error}") from error
    if boxes.shape == (0,):
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            "detections must be boxes (N, 4), left, top, right and bottom, or have them as xyxy; "
            f"got shape {boxes.shape}"
        )
    height, width = size
    edges = np.array([width, height, width, height], np.float64)
    with np.errstate(invalid="ignore"):
        clipped = np.clip(boxes, 0, edges)
    for rule, wrong in (
        ("must be finite", ~np.isfinite(boxes).all(1)),
        ("must have right > left and bottom > top", (boxes[:, 2:] <= boxes[:, :2]).any(1)),
        (f"must overlap the image of {width} x {height} pixels",
         (clipped[:, 2:] <= clipped[:, :2]).any(1)),
    ):  # fmt: skip
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"detections, row {row}: a box {rule}; got {boxes[row].tolist()}: leave it out, or "
                "give left, top, right and bottom in pixels"
            )
    return clipped


def crop_people(image: Any, detections: Any, rows: Sequence[int] | None = None) -> DetectedPeople:
    """Crops of people in an image with a margin, and prompts where several people are in a crop.

    The prompt of a person marks three places on the middle line of its box, and as other people
    the same places of all boxes that reach into the crop. Of two boxes the one that reaches lower
    is in front and hides places of the other. Masks of the detector, where there are any, take the
    place of the marks.

    Args:
        image: Image of any type accepted by `pose.read_image`.
        detections: See `as_boxes`; ``mask`` of it, (N, H, W), or None, is used.
        rows: Boxes to crop; None: all.

    Raises:
        ValueError: See `as_boxes`; or masks have another shape.
    """
    pixels = read_image(image)
    size = (pixels.shape[0], pixels.shape[1])
    boxes = as_boxes(detections, size)
    given = getattr(detections, "mask", None)
    if given is not None and np.shape(given) != (len(boxes), *size):
        raise ValueError(
            f"detections must have masks of shape {(len(boxes), *size)}; got {np.shape(given)}"
        )
    chosen = range(len(boxes)) if rows is None else rows
    images, masks = [], []
    for row in chosen:
        top, bottom, left, right = _crop(boxes[row], size)
        images.append(np.ascontiguousarray(pixels[top:bottom, left:right]))
        if given is None:
            masks.append(_marked(boxes, row, (top, bottom, left, right)))
        else:
            masks.append(_cut(np.asarray(given)[:, top:bottom, left:right], row))
    return DetectedPeople(tuple(images), tuple(masks))


def check_named(model: Any) -> None:
    """Refuses boxes in the place of a model.

    Raises:
        ValueError: With the mend.
    """
    shape = tuple(getattr(model, "shape", ()))
    if hasattr(model, "xyxy") or (len(shape) == 2 and shape[1] == 4):
        raise ValueError("detections must be given by name: embed(frame, detections=...)")


def detected_input(
    image: Any, detections: Any, encoder: Encoder, keypoints: Any = None, others: Any = None
) -> tuple[GivenInput, int]:
    """Input of an encoder for the people of an image.

    Args:
        image: See `crop_people`.
        detections: Likewise.
        encoder: Model of images.
        keypoints: None; they are not for detections.
        others: None; nor are masks or clouds beside the detections.

    Returns:
        The input, and the number N of boxes. Without boxes it is a blank image, so that the
        embeddings have the model's layout: keep the first N.

    Raises:
        ValueError: See `crop_people`; or the model is not one of images.
    """
    if encoder.inputs != "image":
        raise ValueError(
            "detections are for models of images; for a model of clouds, lift the crops of "
            "og_reid.inference.crop_people"
        )
    if keypoints is not None or others is not None:
        raise ValueError(
            "keypoints, masks and clouds must be left out with detections: give masks as "
            "detections.mask, or crops of one person each"
        )
    people = crop_people(image, detections)
    if not people.images:
        return GivenInput([np.zeros((*_LEAST, 3), np.uint8)]), 0
    segmented = getattr(detections, "mask", None) is not None
    prompted = getattr(encoder, "has_local", False) and (segmented or takes_marks(encoder))
    masks = list(people.masks) if prompted else None
    return GivenInput(list(people.images), masks=masks), len(people.images)


def takes_marks(encoder: Encoder) -> bool:
    """True for models that are guided by a few places of a person, not by its whole mask."""
    local = getattr(encoder, "has_local", False)
    return bool(local and not getattr(encoder, "needs_masks", False))


def _crop(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the crop of a box, whole pixels in the image."""
    sides = []
    for axis, (least, edge) in enumerate(zip(_LEAST[::-1], size[::-1], strict=True)):
        low, high = box[axis], box[axis + 2]
        margin = max(BOX_MARGIN * (high - low), (least - (high - low)) / 2)
        first = int(np.floor(max(0.0, low - margin)))
        last = int(np.ceil(min(float(edge), high + margin)))
        # At a border the crop grows to the other side.
        first = max(0, min(first, last - least))
        last = min(edge, max(last, first + least))
        sides.append((first, last))
    (left, right), (top, bottom) = sides
    return top, bottom, left, right


def _cut(masks: np.ndarray, row: int) -> np.ndarray | None:
    """Mask of a person and of all others; None for an empty one."""
    own = masks[row].astype(bool)
    others = np.delete(masks, row, 0).astype(bool).any(0) & ~own
    return np.stack([own, others]).astype(np.float32) if own.any() else None


def _marked(boxes: np.ndarray, row: int, crop: tuple[int, int, int, int]) -> np.ndarray | None:
    """Prompt of the person of a box; None where no other box reaches into the crop."""
    top, bottom, left, right = crop
    frame = np.array([left, top, right, bottom], np.float64)
    near = [
        other
        for other in range(len(boxes))
        if other != row
        and (
            np.minimum(boxes[other, 2:], frame[2:]) > np.maximum(boxes[other, :2], frame[:2])
        ).all()
    ]
    if not near:
        return None
    group = [row, *near]
    marks = {each: _marks(boxes[each]) for each in group}
    shown = {
        each: marks[each][
            ~np.any(
                [
                    _inside(marks[each], boxes[other])
                    for other in group
                    if boxes[other, 3] > boxes[each, 3]
                ]
                or [np.zeros(len(_MARKS), bool)],
                axis=0,
            )
        ]
        for each in group
    }
    own = shown[row] if len(shown[row]) else marks[row]
    spread = _SIGMA * (bottom - top)
    others = np.concatenate([shown[each] for each in near])
    far = np.linalg.norm(others[:, None] - own[None], axis=-1).min(1) > _APART * spread
    others = others[far & _inside(others, frame)]
    return np.stack([_blobs(points, crop, spread) for points in (own, others)])


def _marks(box: np.ndarray) -> np.ndarray:
    """(3, 2) places on the middle line of a box."""
    left, top, right, bottom = box
    return np.array([[(left + right) / 2, top + place * (bottom - top)] for place in _MARKS])


def _inside(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(n,) bool of the points in a box."""
    inside: np.ndarray = ((points >= box[:2]) & (points <= box[2:])).all(1)
    return inside


def _blobs(points: np.ndarray, crop: tuple[int, int, int, int], spread: float) -> np.ndarray:
    """(h, w) float32, the maximum of Gaussians at the points."""
    top, bottom, left, right = crop
    result = np.zeros((bottom - top, right - left), np.float32)
    for x, y in points:
        rows, columns = (
            np.exp(-((np.arange(first, last) + 0.5 - middle) ** 2) / (2 * spread**2))
            for first, last, middle in ((top, bottom, y), (left, right, x))
        )
        result = np.maximum(result, (rows[:, None] * columns[None]).astype(np.float32))
    return result
