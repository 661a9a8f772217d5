"""Things to view: a point cloud, a body with its faces, a skeleton, the image behind them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from meshes.body.load import load_body
from meshes.body.parts import BODY_PARTS, merged_parts
from meshes.fitting.fit import BodyFit
from meshes.lift import Lift
from meshes.pointcloud import BACKGROUND, PointCloud
from pose.keypoints import SKELETON, Keypoints
from pose.runtime.defaults import plain_torch

from .drawing import check_image

__all__ = ["ViewItem", "Viewable", "as_items"]

_HEIGHT = 1.7  # metres, of keypoints without metres
_LEAST = 0.1  # score of keypoints that are drawn
_SKIN = 0.72  # grey of bodies without an image
_JOINTS = (0.0, 0.62, 0.45)


@dataclasses.dataclass(frozen=True, eq=False)
class ViewItem:
    """One person, or any other cloud, in a view.

    Attributes:
        cloud: points, N of them, N >= 1.
        name: text of its label; any text.
        faces: (F, 3) int64 triangles of the first points, counter-clockwise from outside; None for
            the faces of the body model, if the cloud starts with all its vertices, otherwise none.
        bones: (E, 2, 3) metres, both ends of the lines of a skeleton; None for none.
        image: (H, W, 3) uint8 RGB, the image of the cloud; None for none.
        contribution: (N,) finite values of the points, such as their part of a similarity; None
            for none.
        samples: (M,) different indices of sampled points, in their order; None for farthest points
            of the cloud.

    Raises:
        ValueError: a shape, type or index is wrong, the cloud is empty, or a value is not finite.
    """

    cloud: PointCloud
    name: str = ""
    faces: Tensor | None = None
    bones: Tensor | None = None
    image: np.ndarray | None = None
    contribution: Tensor | None = None
    samples: Tensor | None = None

    @plain_torch()
    def __post_init__(self) -> None:
        """Checks the values, and brings them to the processor."""
        count = len(self.cloud)
        if not count:
            raise ValueError(
                f"cloud must hold at least one point to view; got an empty one"
                f"{f', {self.name!r}' if self.name else ''}"
            )
        put = object.__setattr__
        put(self, "cloud", self.cloud.to("cpu"))
        put(self, "name", str(self.name))
        if self.image is not None:
            check_image("image", self.image)
        faces = _body_faces(self.cloud) if self.faces is None else _tensor(self.faces)
        if faces is not None:
            faces = faces.long()
            if faces.ndim != 2 or faces.shape[1] != 3:
                raise ValueError(f"faces must be (F, 3); got {tuple(faces.shape)}")
            _check_index("faces", faces, count)
        put(self, "faces", faces)
        if self.bones is not None:
            bones = _tensor(self.bones).float()
            if bones.ndim != 3 or bones.shape[1:] != (2, 3) or not _finite(bones):
                raise ValueError(f"bones must be finite, (E, 2, 3); got {tuple(bones.shape)}")
            put(self, "bones", bones)
        if self.contribution is not None:
            values = _tensor(self.contribution).float()
            if values.shape != (count,) or not _finite(values):
                raise ValueError(
                    f"contribution must be finite, ({count},), one for each point; got "
                    f"{tuple(values.shape)}"
                )
            put(self, "contribution", values)
        if self.samples is not None:
            samples = _tensor(self.samples).long()
            if samples.ndim != 1 or len(samples.unique()) != len(samples):
                raise ValueError("samples must be one row of different indices")
            _check_index("samples", samples, count)
            put(self, "samples", samples)

    @property
    def normals(self) -> Tensor | None:
        """(N, 3) unit vectors of the points of faces, zero for others; None without any."""
        if self.faces is None or not len(self.faces):
            return self.cloud.normals
        corners = self.cloud.points[self.faces]
        across = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        total = torch.zeros_like(self.cloud.points)
        for corner in range(3):
            total.index_add_(0, self.faces[:, corner], across)
        return torch.nn.functional.normalize(total, dim=1)

    @property
    def body_part(self) -> Tensor:
        """(N,) int64: index into ``meshes.body.parts.BODY_PARTS``; -1 for background."""
        part = self.cloud.part
        table = merged_parts(BODY_PARTS).long()
        known = (part >= 0) & (part < len(table))
        merged = table[torch.where(known, part, 0)]
        found = known & (merged < len(BODY_PARTS))
        return torch.where(found, merged, torch.where(part == BACKGROUND, -1, 1))


#: What can be viewed: clouds, lifts, fitted bodies, keypoints of one person.
Viewable: TypeAlias = PointCloud | Lift | BodyFit | Keypoints | ViewItem


def as_items(given: Viewable | Iterable[Viewable], names: Sequence[str] | None = None) -> list[Any]:
    """Items of a view.

    Args:
        given: one of `Viewable`, or several; batches of bodies and keypoints give one item each.
        names: text of each item's label; None for those of the items.

    Returns:
        At least one `ViewItem`.

    Raises:
        ValueError: nothing to view, another number of names, or an empty cloud.
        TypeError: another type.
    """
    one = isinstance(given, PointCloud | Lift | BodyFit | Keypoints | ViewItem)
    items = [item for each in ([given] if one else list(given)) for item in _items(each)]  # type: ignore[arg-type]
    if not items:
        raise ValueError("items must hold at least one cloud, body or person to view; got none")
    if names is not None:
        if isinstance(names, str) or len(names) != len(items):
            raise ValueError(f"names must be one for each of {len(items)} items; got {names!r}")
        items = [
            dataclasses.replace(item, name=str(name))
            for item, name in zip(items, names, strict=True)
        ]
    return items


def _items(given: Any) -> list[ViewItem]:
    if isinstance(given, ViewItem):
        return [given]
    if isinstance(given, PointCloud):
        return [ViewItem(given)]
    if isinstance(given, Lift):
        (bones,) = _body_bones(given.fit)
        return [ViewItem(given.cloud, bones=bones)]
    if isinstance(given, BodyFit):
        return _bodies(given)
    if isinstance(given, Keypoints):
        return [_skeleton(person) for person in _people(given)]
    raise TypeError(
        "items must be point clouds, lifts, fitted bodies, keypoints or ViewItem; got "
        f"{type(given).__name__}"
    )


def _people(keypoints: Keypoints) -> list[Keypoints]:
    """Each person of a batch of keypoints."""
    if not keypoints.shape:
        return [keypoints]
    return [one for row in range(keypoints.shape[0]) for one in _people(keypoints[row])]


@plain_torch()
def _skeleton(person: Keypoints) -> ViewItem:
    """Joints and bones in metres; keypoints without metres in the plane of the image."""
    found = person.score > _LEAST
    if not bool(found.any()):
        raise ValueError("keypoints must hold a joint with a score above 0.1 to view; got none")
    if person.xyz is not None:
        points = person.xyz.detach().cpu().float()
    else:
        xy = person.xy.detach().cpu().float()
        low, high = xy[found].amin(0), xy[found].amax(0)
        scale = _HEIGHT / float((high - low).amax().clamp(min=1e-6))
        points = torch.cat([(xy - (low + high) / 2) * scale, torch.zeros(len(xy), 1)], 1)
        points[:, 1] *= -1
    index = {name: row for row, name in enumerate(person.names)}
    pairs = [(index[a], index[b]) for a, b in SKELETON if a in index and b in index]
    pairs = [pair for pair in pairs if bool(found[list(pair)].all())]
    bones = points[torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)]
    kept = found.cpu()
    cloud = PointCloud(
        points[kept],
        torch.tensor(_JOINTS).expand(int(kept.sum()), 3),
        visible=person.visibility.detach().cpu()[kept] > 0.5,
    )
    return ViewItem(cloud, bones=bones)


def _body_bones(fit: BodyFit) -> list[Tensor]:
    parents = fit.body.parents
    ends = [(parent, joint) for joint, parent in enumerate(parents) if parent >= 0]
    joints = fit.posed.joints.detach().cpu().float()
    return [row[torch.tensor(ends)] for row in joints]


def _bodies(fit: BodyFit) -> list[ViewItem]:
    vertices = fit.posed.vertices.detach().cpu().float()
    grey = torch.full((vertices.shape[1], 3), _SKIN)
    return [
        ViewItem(PointCloud(points, grey, part=fit.body.part.cpu()), faces=fit.body.faces.cpu(),
            bones=bones)
        for points, bones in zip(vertices, _body_bones(fit), strict=True)
    ]  # fmt: skip


@cache
def _known_body() -> tuple[Tensor, Tensor]:
    body = load_body()
    return body.part, body.faces


def _body_faces(cloud: PointCloud) -> Tensor | None:
    """Faces of the body model, for clouds that start with its vertices as lifts do."""
    part, faces = _known_body()
    if len(cloud) < len(part) or not torch.equal(cloud.part[: len(part)], part):
        return None
    return faces


def _tensor(value: Any) -> Tensor:
    return torch.as_tensor(value, device="cpu").detach()


def _finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())


def _check_index(name: str, index: Tensor, count: int) -> None:
    if index.numel() and not (0 <= int(index.min()) and int(index.max()) < count):
        raise ValueError(
            f"{name} must be in [0, {count}); got {int(index.min())}..{int(index.max())}"
        )
