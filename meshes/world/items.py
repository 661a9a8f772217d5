"""Items of the world by key: images with their truth, one by one or as an endless stream.

An item depends on its plan and its key alone, so that any number of workers, in any order, makes
the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch.utils.data import Dataset, IterableDataset, get_worker_info

from pose.runtime.defaults import plain_torch
from pose.runtime.threads import one_thread

from .labelled import LabelledPlan, drawn_view, labelled_scene
from .presets import world_settings
from .rendering import Rendered, render
from .rng import Rng
from .scene import Scene
from .tracks import Track, sample_track
from .truth import Truth, scene_truth
from .truth.values import checked_selection

__all__ = ["ItemKey", "ItemPlan", "WorldDataset", "WorldItem", "WorldStream", "dataset"]

#: Identities of an endless set: as many as the numbers that no passer-by has.
_ENDLESS = 200_000_000


@dataclass(frozen=True)
class ItemPlan:
    """Parameters that determine every byte of a set of items.

    Attributes:
        images: identities, views, seed, cameras and settings.
        frames: 0: each view is one image; else each is a track of this many frames.
        rate: frames a second of tracks.
        truth: names out of ``TRUTH``.
    """

    images: LabelledPlan
    frames: int = 0
    rate: float = 8.0
    truth: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the values."""
        if not isinstance(self.frames, int) or self.frames < 0:
            raise ValueError(f"frames must be an integer of at least 0; got {self.frames!r}")
        if not 0 < self.rate < 1000:
            raise ValueError(f"rate must be in (0, 1000) frames a second; got {self.rate}")
        object.__setattr__(self, "truth", checked_selection(self.truth))

    @property
    def of_identity(self) -> int:
        """Items of each identity."""
        return self.images.views * max(1, self.frames)

    @property
    def items(self) -> int:
        """Number of all items."""
        return self.images.identities * self.of_identity

    @property
    def endless(self) -> bool:
        """True without a number of identities."""
        return self.images.identities >= _ENDLESS

    def key(self, index: int) -> ItemKey:
        """Key of an item, from 0: by identity, then view, then frame."""
        identity, rest = divmod(index, self.of_identity)
        view, frame = divmod(rest, max(1, self.frames))
        return ItemKey(identity, view, frame)

    @property
    def manifest(self) -> dict[str, Any]:
        """Plain values for the manifest of a folder; tracks and truth only where there are any."""
        values = dict(self.images.manifest)
        if self.frames:
            values |= {"frames": self.frames, "rate": self.rate}
        if self.truth:
            values["truth"] = " ".join(self.truth)
        return values


@dataclass(frozen=True, order=True)
class ItemKey:
    """Key of an item: identity, view of it and frame of that, each from 0."""

    identity: int
    view: int
    frame: int = 0

    @property
    def track(self) -> str:
        """Name of the track, or of the only image, of the view."""
        return f"{self.identity:06d}-{self.view:03d}"


@dataclass(frozen=True, eq=False)
class WorldItem:
    """An image of the world with its truth.

    Attributes:
        key: identity in the set, view and frame.
        camera: number of the camera, from 1.
        rendered: image, masks, keypoints, pose.
        truth: selected maps, attributes, camera, light.
    """

    key: ItemKey
    camera: int
    rendered: Rendered
    truth: Truth


@lru_cache(maxsize=2)
def _track(plan: ItemPlan, identity: int, view: int) -> tuple[int, Track]:
    images = plan.images
    number = images.first_identity + identity
    rng = Rng.seeded("tracks", images.seed, number, view)
    settings = world_settings(images.settings, without=images.without)
    camera, occluded, hidden, _ = drawn_view(images, settings, rng, view)
    return camera, sample_track(
        number, settings.camera(images.seed, camera), rng.generator, occluded,
        frames=plan.frames, rate=plan.rate, hidden_range=hidden, settings=settings,
    )  # fmt: skip


def _scene(plan: ItemPlan, key: ItemKey) -> tuple[int, Scene]:
    if not plan.frames:
        return labelled_scene(plan.images, key.identity, key.view)
    camera, track = _track(plan, key.identity, key.view)
    return camera, track[key.frame]


@plain_torch()
def make_item(plan: ItemPlan, key: ItemKey) -> WorldItem:
    """Item of a plan; the same bytes wherever and whenever it is made."""
    with one_thread():
        camera, scene = _scene(plan, key)
        return WorldItem(key, camera, render(scene), scene_truth(scene, plan.truth))


class WorldDataset(Dataset[WorldItem]):
    """Items of a plan, made when they are asked for; picklable, for ``torch`` loaders.

    Attributes:
        plan: the plan.
    """

    def __init__(self, plan: ItemPlan) -> None:
        self.plan = plan

    def __len__(self) -> int:
        """Number of items.

        Raises:
            TypeError: the set is endless.
        """
        if self.plan.endless:
            raise TypeError("an endless set has no length: give dataset() a number of identities")
        return self.plan.items

    def __getitem__(self, index: int) -> WorldItem:
        """Item at an index, from 0: by identity, then view, then frame.

        Raises:
            IndexError: no such item.
        """
        if not 0 <= index < self.plan.items:
            raise IndexError(f"index must be in [0, {self.plan.items}); got {index}")
        return make_item(self.plan, self.plan.key(index))

    def item(self, key: ItemKey) -> WorldItem:
        """Item of a key.

        Raises:
            IndexError: no such item in the set.
        """
        images, frames = self.plan.images, max(1, self.plan.frames)
        limits = (("identity", images.identities), ("view", images.views), ("frame", frames))
        for name, limit in limits:
            if not 0 <= getattr(key, name) < limit:
                raise IndexError(f"{name} must be in [0, {limit}); got {getattr(key, name)}")
        return make_item(self.plan, key)

    def stream(self, start: int = 0, batch: int | None = None) -> WorldStream:
        """Items one after the other, or lists of ``batch`` of them; see `WorldStream`."""
        return WorldStream(self.plan, start, batch)


@dataclass(frozen=True)
class WorldStream(IterableDataset[Any]):
    """Items of a plan in the order of their indices; for an endless plan without end.

    In a ``torch.utils.data.DataLoader(stream, batch_size=None, num_workers=n)`` the workers take
    turns, and the loader gives the same items in the same order for any n.

    Attributes:
        plan: the plan.
        start: index of the first item.
        batch: None for single items; else lists of so many, the last one maybe shorter.
    """

    plan: ItemPlan
    start: int = 0
    batch: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.start < 0:
            raise ValueError(f"start must not be negative; got {self.start}")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch must be at least 1; got {self.batch}")

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        size = self.batch or 1
        for first in range(self.start + worker * size, self.plan.items, workers * size):
            items = [
                make_item(self.plan, self.plan.key(index))
                for index in range(first, min(first + size, self.plan.items))
            ]
            yield items if self.batch else items[0]


def dataset(
    settings: str = "default",
    *,
    identities: int | None = None,
    views: int = 10,
    seed: int = 0,
    cameras: int = 40,
    first_identity: int = 0,
    occluded_fraction: float = 0.5,
    without: Sequence[str] = (),
    frames: int = 0,
    rate: float = 8.0,
    truth: Sequence[str] = (),
) -> WorldDataset:
    """Images or tracks of the world as a data set: ``[i]``, ``len``, and ``stream()``.

    Images are those of `write_labelled_world` with the same parameters.

    Args:
        settings: name of the world's settings, one of ``SETTINGS``.
        identities: number of identities; None: without end.
        views: images, or tracks, of each identity.
        seed: seed of everything but the identities.
        cameras: number of cameras.
        first_identity: number of the first identity; disjoint ranges give disjoint identities.
        occluded_fraction: fraction of occluded images or tracks.
        without: groups of the settings that are off (see `world_settings`).
        frames: 0 for images, else frames of each track.
        rate: frames a second of tracks.
        truth: names out of ``TRUTH``; others are not made.

    Raises:
        ValueError: an argument is out of its range.
    """
    images = LabelledPlan(
        identities=_ENDLESS if identities is None else identities, views=views, seed=seed,
        cameras=cameras, first_identity=first_identity, occluded_fraction=occluded_fraction,
        settings=settings, without=tuple(without),
    )  # fmt: skip
    return WorldDataset(ItemPlan(images, frames, rate, checked_selection(truth)))
