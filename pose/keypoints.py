"""2D keypoints of people: position, score and visibility of each joint."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["COCO_17", "COCO_17_FEET", "FLIP_PAIRS", "SKELETON", "Keypoints"]

COCO_17: tuple[str, ...] = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""The 17 keypoints of the COCO data set, in its order. Left and right are the person's own."""

COCO_17_FEET: tuple[str, ...] = (*COCO_17, "left_heel", "right_heel", "left_toe", "right_toe")
"""`COCO_17` followed by heels and toes: 21 names."""

SKELETON: tuple[tuple[str, str], ...] = (
    ("nose", "left_eye"),
    ("nose", "right_eye"),
    ("left_eye", "left_ear"),
    ("right_eye", "right_ear"),
    ("left_shoulder", "right_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_hip", "right_hip"),
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
    ("right_hip", "right_knee"),
    ("right_knee", "right_ankle"),
    ("left_ankle", "left_heel"),
    ("left_heel", "left_toe"),
    ("right_ankle", "right_heel"),
    ("right_heel", "right_toe"),
)
"""Pairs of keypoint names to join with a line; a layout without feet draws the first 16."""

FLIP_PAIRS: tuple[tuple[str, str], ...] = tuple(
    (name, "right" + name.removeprefix("left")) for name in COCO_17_FEET if name.startswith("left_")
)
"""(left, right) names that trade places when the image is mirrored."""


@dataclasses.dataclass(frozen=True, eq=False)
class Keypoints:
    """Keypoints of one person (no batch dimensions) or of many (any batch dimensions).

    Pixels: x right, y down, the image spans [0, W] x [0, H], pixel centres at +0.5.

    `score` and `visibility` differ: the position of a knee behind a chair may be certain (score
    high) though the knee is occluded (visibility low).

    Attributes:
        xy: (..., K, 2) pixels; may lie outside the image. `xy[..., j, :]` belongs to `names[j]`.
        score: (..., K) in [0, 1], confidence of the position. 0 = not found.
        visibility: (..., K) in [0, 1], probability that the joint is visible (neither occluded
            nor outside the image). Equal to `score` when not given.
        names: K different names.
        xyz: (..., K, 3) metres, camera-aligned (x right in the image, y up, z towards the
            camera), origin between the hips; or None. The scale is unreliable: use the directions
            of bones only.

    Example:
        >>> keypoints = Keypoints(torch.zeros(17, 2), torch.ones(17))
        >>> keypoints.names[0], keypoints.visibility.shape
        ('nose', torch.Size([17]))

    Raises:
        ValueError: shapes disagree, a value is NaN or infinite, or a score or visibility leaves
            [0, 1].
    """

    xy: Tensor
    score: Tensor
    visibility: Tensor = None  # type: ignore[assignment]  # __post_init__ puts score here
    names: tuple[str, ...] = COCO_17
    xyz: Tensor | None = None

    def __post_init__(self) -> None:
        """Fill in `visibility` and check every field."""
        if self.visibility is None:
            object.__setattr__(self, "visibility", self.score)
        object.__setattr__(self, "names", tuple(self.names))
        count = len(self.names)
        if len(set(self.names)) != count:
            raise ValueError(f"names must differ from each other; got {self.names}")
        batch = tuple(self.xy.shape[:-2])
        _check("xy", self.xy, (*batch, count, 2))
        _check("score", self.score, (*batch, count))
        _check("visibility", self.visibility, (*batch, count))
        if self.xyz is not None:
            _check("xyz", self.xyz, (*batch, count, 3))
        for field in ("score", "visibility"):
            value = getattr(self, field)
            if value.numel() and not (0 <= float(value.min()) and float(value.max()) <= 1):
                raise ValueError(
                    f"{field} must be in [0, 1]; got values from {float(value.min()):.4g} to "
                    f"{float(value.max()):.4g}: rescale or clamp them"
                )

    @classmethod
    def none(cls, names: Sequence[str] = COCO_17, *, xyz: bool = False) -> Keypoints:
        """Keypoints without a person: zeros, (K,) without batch dimensions.

        Args:
            names: the layout.
            xyz: also hold a zero `xyz`, for an estimator with ``xyz`` in its other results.
        """
        count = len(names)
        zero = torch.zeros(count)
        return cls(
            torch.zeros(count, 2),
            zero,
            zero.clone(),
            tuple(names),
            torch.zeros(count, 3) if xyz else None,
        )

    @classmethod
    def stack(cls, people: Sequence[Keypoints]) -> Keypoints:
        """Stack N people of one layout and one batch shape along a new first dimension.

        A person that was not found may lack `xyz` (zeros stand in); otherwise all have it or none.

        Raises:
            ValueError: `people` is empty, layouts differ, or only some of the found have `xyz`.
        """
        people = list(people)
        if not people:
            raise ValueError("people must hold at least one Keypoints; got an empty list")
        names = people[0].names
        for i, person in enumerate(people):
            if person.names != names:
                raise ValueError(
                    f"people must share one layout; people[{i}] has {person.names}, people[0] has "
                    f"{names}: use .select(names)"
                )
        return cls(
            torch.stack([p.xy for p in people]),
            torch.stack([p.score for p in people]),
            torch.stack([p.visibility for p in people]),
            names,
            _stack_xyz(people),
        )

    @classmethod
    def cat(cls, pieces: Sequence[Keypoints]) -> Keypoints:
        """Concatenate (N,), (M,), ... people of one layout.

        Raises:
            ValueError: `pieces` is empty, or layouts differ, or only some have `xyz`.
        """
        pieces = list(pieces)
        layouts = {(each.names, each.xyz is None) for each in pieces}
        if len(layouts) != 1:
            raise ValueError(
                "pieces must be at least one, of one layout, and all with xyz or none; got "
                f"{len(pieces)} pieces of {len(layouts)} kinds"
            )
        return cls(
            torch.cat([each.xy for each in pieces]),
            torch.cat([each.score for each in pieces]),
            torch.cat([each.visibility for each in pieces]),
            pieces[0].names,
            None
            if pieces[0].xyz is None
            else torch.cat([p.xyz for p in pieces if p.xyz is not None]),
        )

    @property
    def shape(self) -> torch.Size:
        """Batch dimensions; `torch.Size([])` for one person."""
        return self.score.shape[:-1]

    @property
    def found(self) -> Tensor:
        """(...,) bool: True for people with any score > 0."""
        return (self.score > 0).any(-1)

    def inside(self, height: float, width: float) -> Tensor:
        """(..., K) bool: joints inside an image of this size in pixels, found or not."""
        x, y = self.xy.unbind(-1)
        return (x >= 0) & (x <= width) & (y >= 0) & (y <= height)

    def __getitem__(self, index: Any) -> Keypoints:
        """Index the batch dimensions, as `tensor[index]` would; never the keypoints."""
        if not self.shape:
            raise IndexError("these Keypoints hold one person and have no batch dimension to index")
        rows = torch.arange(self.shape.numel(), device=self.score.device).view(self.shape)[index]
        return self._map(lambda t, tail: t.reshape(-1, *t.shape[t.ndim - tail :])[rows])

    def select(self, names: Sequence[str]) -> Keypoints:
        """The keypoints called `names`, in that order.

        Raises:
            ValueError: a name is not in this layout.
        """
        missing = [name for name in names if name not in self.names]
        if missing:
            raise ValueError(f"names must be among {self.names}; got {missing}")
        order = torch.tensor([self.names.index(n) for n in names], device=self.xy.device).long()
        chosen = self._map(lambda t, tail: t.index_select(t.ndim - tail, order), names=tuple(names))
        return chosen

    def flip(self, width: float) -> Keypoints:
        """The keypoints of the mirrored image: x becomes `width - x`, left becomes right.

        Args:
            width: width of the image, pixels.
        """
        swapped = self.select([_mirrored(name) for name in self.names])
        xy = swapped.xy * swapped.xy.new_tensor([-1, 1]) + swapped.xy.new_tensor([width, 0])
        xyz = None if swapped.xyz is None else swapped.xyz * swapped.xyz.new_tensor([-1, 1, 1])
        return Keypoints(xy, swapped.score, swapped.visibility, self.names, xyz)

    def to(self, *args: Any, **kwargs: Any) -> Keypoints:
        """Move or convert every tensor, with the arguments of `torch.Tensor.to`."""
        return self._map(lambda t, tail: t.to(*args, **kwargs))

    def _map(self, change: Any, names: tuple[str, ...] | None = None) -> Keypoints:
        """Apply `change(tensor, number of dimensions behind the batch)` to every tensor."""
        return Keypoints(
            change(self.xy, 2),
            change(self.score, 1),
            change(self.visibility, 1),
            self.names if names is None else names,
            None if self.xyz is None else change(self.xyz, 2),
        )


def _mirrored(name: str) -> str:
    side, _, point = name.partition("_")
    other = {"left": "right", "right": "left"}.get(side)
    return f"{other}_{point}" if other and point else name


def _check(field: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        came = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{field} must be a floating point Tensor; got {came}")
    if tuple(value.shape) != shape:
        raise ValueError(f"{field} must have shape {shape}; got {tuple(value.shape)}")
    if not bool(torch.isfinite(value).all()):
        raise ValueError(
            f"{field} must be finite; got NaN or infinity: give a keypoint that was not found "
            "score 0 and any finite position"
        )


def _stack_xyz(people: list[Keypoints]) -> Tensor | None:
    if all(p.xyz is None for p in people):
        return None
    rows = []
    for i, person in enumerate(people):
        if person.xyz is None and bool(person.found.any()):
            raise ValueError(
                f"people must all have xyz or none; people[{i}] was found without it: drop xyz "
                "from the others"
            )
        rows.append(
            person.xy.new_zeros(*person.score.shape, 3) if person.xyz is None else person.xyz
        )
    return torch.stack(rows)
