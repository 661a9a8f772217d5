"""Value types of truth: maps, other people, camera; each checks itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pose.keypoints import Keypoints

from ...body.parts import OFF_BODY
from ..imaging.camera import Light, View
from ..imaging.conditions import Conditions
from ..people.attributes import Attributes

__all__ = [
    "GARMENTS",
    "MAPS",
    "THING",
    "TRUTH",
    "CameraMatrices",
    "LightTruth",
    "OtherPerson",
    "Truth",
    "checked_selection",
]

#: Maps of `Truth`, by the names of its fields; ``people`` selects the other people.
TRUTH: tuple[str, ...] = (
    "instance", "part", "vertex", "uv", "garment", "depth", "scene_depth", "normal", "people",
)  # fmt: skip
#: Values of the garment map: the background, the kinds of surfaces of a person, and all others.
GARMENTS: tuple[str, ...] = (
    "none", "skin", "hair", "hat", "top", "dress", "jacket", "coat", "poncho", "trousers",
    "shorts", "skirt", "shoes", "bag", "other",
)  # fmt: skip
#: Value of the instance map for things.
THING = 255

#: Type and trailing dimensions of each map.
MAPS: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
    "instance": (torch.uint8, ()),
    "part": (torch.uint8, ()),
    "vertex": (torch.int16, ()),
    "uv": (torch.float32, (2,)),
    "garment": (torch.uint8, ()),
    "depth": (torch.float32, ()),
    "scene_depth": (torch.float32, ()),
    "normal": (torch.float32, (3,)),
}


@dataclass(frozen=True, eq=False)
class CameraMatrices:
    """Camera in the frame of computer vision: x right, y down, z along the view.

    The pixel of a world point X is ``p = intrinsics @ (rotation @ X + translation)``, divided by
    its third entry, the depth in metres. Pixel (i, j) has its centre at (i + 0.5, j + 0.5). A lens
    with distortion k bends rays before: a point at (x, y, z) of the camera's frame is seen where a
    pinhole sees (a x, a y, z), with a = 2 / (1 + sqrt(1 - 4 k r^2)) and r^2 = (x^2 + y^2) / z^2.

    Attributes:
        intrinsics: (3, 3) float32, pixels.
        rotation: (3, 3) float32, world to camera.
        translation: (3,) float32, metres.
        distortion: k, at most 0; 0 for a pinhole.
    """

    intrinsics: Tensor
    rotation: Tensor
    translation: Tensor
    distortion: float = 0.0

    def __post_init__(self) -> None:
        """Check shapes and rotation."""
        shapes = {"intrinsics": (3, 3), "rotation": (3, 3), "translation": (3,)}
        for name, shape in shapes.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"{name} must be {shape}; got {tuple(getattr(self, name).shape)}")
        error = (self.rotation @ self.rotation.T - torch.eye(3)).abs().max()
        if not float(error) < 1e-4 or float(torch.linalg.det(self.rotation)) < 0:
            raise ValueError("rotation must be a rotation matrix")

    @classmethod
    def of(cls, view: View) -> CameraMatrices:
        """Matrices of a view of the world, whose frame has y up and z towards the camera."""
        flip = torch.tensor([[1.0], [-1.0], [-1.0]])
        rotation = flip * view.turn
        fx, fy = view.focal
        x, y = view.principal
        return cls(
            torch.tensor([[fx, -fx * view.skew, x], [0.0, fy, y], [0.0, 0.0, 1.0]]),
            rotation,
            -(rotation @ view.center),
            view.distortion,
        )


@dataclass(frozen=True, eq=False)
class LightTruth:
    """Light of an image, linear, per channel.

    Attributes:
        direction: (3,) unit, towards the sun, world frame: x right of the camera, y up.
        sun: (3,) strength of the sun.
        sky: (3,) ambient light from above.
        bounce: (3,) ambient light from below.
        lamps: (L, 6) lamps near by: place in metres, world frame, and light on a surface that faces
            the lamp at one metre.
    """

    direction: Tensor
    sun: Tensor
    sky: Tensor
    bounce: Tensor
    lamps: Tensor

    def __post_init__(self) -> None:
        """Check shapes and direction."""
        for name in ("direction", "sun", "sky", "bounce"):
            value = getattr(self, name)
            if tuple(value.shape) != (3,) or not bool(value.isfinite().all()):
                raise ValueError(f"{name} must be 3 finite numbers; got {value}")
        if self.lamps.dim() != 2 or self.lamps.shape[1] != 6:
            raise ValueError(f"lamps must be (L, 6); got {tuple(self.lamps.shape)}")
        if abs(float(self.direction.norm()) - 1) > 1e-3:
            raise ValueError(f"direction must be a unit vector; got {self.direction.tolist()}")

    @classmethod
    def of(cls, light: Light) -> LightTruth:
        """Values of the light of a scene."""
        rows = [torch.cat([lamp.place, lamp.color]) for lamp in light.lamps]
        lamps = torch.stack(rows) if rows else torch.zeros(0, 6)
        return cls(light.direction, light.sun, light.sky, light.bounce, lamps)


@dataclass(frozen=True, eq=False)
class OtherPerson:
    """Another person in an image.

    Attributes:
        number: value of the instance map, from 2.
        identity: number of the appearance; far above those of a set's identities.
        amodal: (H, W) bool, pixels whose centre the person's surface covers, occluded or not.
        keypoints: 21 points of ``COCO_17_FEET`` in pixels; visibility 1 seen, 0.5 hidden by the
            own body, 0 hidden by something else or outside the image.
        joints: (24, 3) metres, camera frame: x right, y up, z towards the camera.
    """

    number: int
    identity: int
    amodal: Tensor
    keypoints: Keypoints
    joints: Tensor

    def __post_init__(self) -> None:
        """Check number and mask."""
        if not 2 <= self.number < THING:
            raise ValueError(f"number must be in [2, {THING}); got {self.number}")
        if self.amodal.dtype != torch.bool or self.amodal.dim() != 2:
            raise ValueError(f"amodal must be (H, W) bool; got {tuple(self.amodal.shape)}")


@dataclass(frozen=True, eq=False)
class Truth:
    """Truth of an image of H x W pixels; maps that were not asked for are None.

    Maps hold the value at the centre of each pixel, while the masks of `Rendered` count covered
    sub-pixels: the two differ at outlines alone. Maps of the person go on behind occluders; the
    visible surface is ``instance == 1``.

    Attributes:
        size: H and W.
        camera: matrices of the camera of this crop.
        light: light of the image.
        conditions: time, weather and place.
        attributes: labels of the person's appearance.
        instance: (H, W) uint8, nearest surface: 0 background, 1 the person, 2 to 254 other people,
            255 things.
        part: (H, W) uint8, joint of ``SMPL_JOINTS`` that the person's surface follows most, which
            is ``body.part`` of ``vertex``; ``OFF_BODY`` off the person. `meshes.body.parts` merges.
        vertex: (H, W) int16, vertex of the bare body under the person's surface: the one that skin
            and clothes follow most, and the nearest for hair, shoes, skirts and bags; -1 off the
            person.
        uv: (H, W, 2) float32, place of that surface in the texture of the body (`Atlas` of
            `meshes.body.atlas`): u to the right and v down, in [0, 1]; NaN off the person.
        garment: (H, W) uint8, index into ``GARMENTS`` of the person's surface; 0 off the person.
        depth: (H, W) float32 metres along the optical axis to the person's surface; inf off it.
        scene_depth: (H, W) float32, the same of the nearest surface, ground and walls included.
            Surroundings end at 60 m.
        normal: (H, W, 3) float32, unit normal of the person's surface without folds, on the side
            that faces the camera; camera frame: x right, y up, z towards the camera; zero off it.
        people: other people with a pixel in the image, by number.
    """

    size: tuple[int, int]
    camera: CameraMatrices
    light: LightTruth
    conditions: Conditions
    attributes: Attributes
    instance: Tensor | None = None
    part: Tensor | None = None
    vertex: Tensor | None = None
    uv: Tensor | None = None
    garment: Tensor | None = None
    depth: Tensor | None = None
    scene_depth: Tensor | None = None
    normal: Tensor | None = None
    people: tuple[OtherPerson, ...] | None = None

    def __post_init__(self) -> None:
        """Check maps against each other."""
        for name, (dtype, trailing) in MAPS.items():
            value = getattr(self, name)
            if value is None:
                continue
            shape = (*self.size, *trailing)
            if value.dtype != dtype or tuple(value.shape) != shape:
                raise ValueError(
                    f"{name} must be {shape} {dtype}; got {tuple(value.shape)} {value.dtype}"
                )
        on_person = {
            "part": lambda value: value != OFF_BODY,
            "vertex": lambda value: value >= 0,
            "uv": lambda value: value.isfinite().all(-1),
            "garment": lambda value: value > 0,
            "depth": torch.isfinite,
            "normal": lambda value: (value != 0).any(-1),
        }
        there = {
            name: test(value)
            for name, test in on_person.items()
            if (value := getattr(self, name)) is not None
        }
        first = next(iter(there), None)
        for name, surface in there.items():
            if not torch.equal(surface, there[str(first)]):
                raise ValueError(f"{name} must cover the pixels of {first}")
        numbers = [person.number for person in self.people or ()]
        if numbers != sorted(set(numbers)):
            raise ValueError(f"people must be in the order of their numbers; got {numbers}")
        for person in self.people or ():
            if tuple(person.amodal.shape) != self.size:
                raise ValueError(
                    f"amodal must be {self.size}; got {tuple(person.amodal.shape)} of person "
                    f"{person.number}"
                )


def checked_selection(truth: Sequence[str]) -> tuple[str, ...]:
    """Names out of ``TRUTH``, in its order.

    Raises:
        ValueError: an unknown or repeated name, or one text in place of a sequence.
    """
    names = (truth,) if isinstance(truth, str) else tuple(truth)
    unknown = [name for name in names if name not in TRUTH]
    if unknown or len(set(names)) != len(names):
        raise ValueError(f"truth must be different names out of {TRUTH}; got {truth!r}")
    return tuple(name for name in TRUTH if name in names)
