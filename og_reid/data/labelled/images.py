"""Labelled images of the world in memory, and training batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from meshes.body.load import load_body
from meshes.body.model import BodyModel
from meshes.body.parts import BODY_PARTS, merged_parts
from meshes.world.labelled import LabelledImages
from pose.runtime.defaults import plain_torch

from ..keyed_random import KeyedRandom
from .appearance import degraded, lit
from .batch import CELL, LabelledBatch
from .compose import add_behind, add_people, add_things, new_background, without_person
from .config import CompositeConfig
from .crops import Sampled, detector_frame, sample, whole_frame
from .draws import Draws
from .layers import Layers, View, mirrored, visible_box
from .prompts import draw_prompt
from .stored import iter_labelled
from .truth import body_heights, part_fractions

__all__ = ["LabelledSet", "vertex_labels"]

# Streams of random numbers, one for each group of changes.
_MIRROR, _BACKGROUND, _BEHIND, _FRONT, _THINGS, _ORDER, _CROP, _LIGHT, _SENSOR, _PROMPT, _EMPTY = (
    range(11)
)
_FILLED = 8  # cells by which labels grow over outlines
_LEAST_OTHER = 0.1  # of an image's pixels, for people that are put into other images
_LEAST_WHOLE = 0.95  # of their surface: others would float in the air


def vertex_labels(body: BodyModel) -> tuple[np.ndarray, np.ndarray]:
    """Body part and height of each vertex of a body.

    Returns:
        (V,) uint8 index into ``BODY_PARTS`` by the joint of the largest skinning weight, and (V,)
        uint8 height in the rest pose, 0 at the soles and 255 at the top of the head.
    """
    of_joint = merged_parts(BODY_PARTS, body.joint_names).numpy()
    level = body.v_template[:, 1].double().numpy()
    height = (level - level.min()) / (level.max() - level.min())
    return of_joint[body.part.numpy()], np.round(255 * height).astype(np.uint8)


class LabelledSet:
    """Labelled images of a stored world, in memory.

    12,000 images take 1.4 GB.

    Args:
        roots: Folders of `meshes.world.shards.write_world_shards`, or of
            `meshes.world.labelled.write_labelled_world`. Identities and cameras of a further
            folder are numbered after those of the ones before it.

    Attributes:
        pids: (N,) int64 identities.
        camids: (N,) int64 cameras.
        visible_fraction: (N,) float32, visible fraction of the person, in [0, 1].

    Raises:
        ValueError: no folder, one given twice or without shards, or a damaged shard.
        OSError: a shard cannot be read.
    """

    @plain_torch()
    def __init__(self, *roots: str | Path) -> None:
        if not roots or len({Path(root).resolve() for root in roots}) < len(roots):
            raise ValueError(f"roots must be one or more distinct folders; got {roots}")
        labels = vertex_labels(load_body())
        pieces: list[dict[str, np.ndarray]] = []
        for root in roots:
            of_root = [_arrays(images, labels) for images in iter_labelled(root)]
            for name in ("identity", "camera"):  # each folder counts its own from 0
                first = 1 + max((int(piece[name].max()) for piece in pieces), default=-1)
                for piece in of_root:
                    piece[name] = piece[name] + first
            pieces += of_root
        self._arrays = {
            name: np.concatenate([piece.pop(name) for piece in pieces]) for name in list(pieces[0])
        }
        self._publish()

    def _publish(self) -> None:
        self.pids, self.camids, self.visible_fraction = (
            torch.from_numpy(np.ascontiguousarray(self._arrays[name]))
            for name in ("identity", "camera", "visible")
        )
        # Rows of people to be put into other images; of all, in a set without any such.
        whole = self._arrays["visible"] >= _LEAST_WHOLE
        large = self._arrays["fraction"] >= _LEAST_OTHER
        found = np.flatnonzero(whole & large)
        self._usable = found if len(found) else np.arange(len(self))

    def __len__(self) -> int:
        """N, number of images."""
        return len(self._arrays["identity"])

    def select(self, rows: Tensor | Sequence[int] | slice) -> LabelledSet:
        """Set of some of the images, which share their pixels."""
        if isinstance(rows, slice):
            index: slice | np.ndarray = rows
        else:
            given = torch.as_tensor(rows)
            index = (given if given.dtype == torch.bool else given.long()).numpy()
        if not len(np.arange(len(self))[index]):
            raise ValueError("rows must name at least one of the images; got none")
        chosen = LabelledSet.__new__(LabelledSet)
        chosen._arrays = {name: array[index] for name, array in self._arrays.items()}
        chosen._publish()
        return chosen

    def view(self, row: int) -> View:
        """One image with its labels."""
        arrays = self._arrays
        image: np.ndarray = arrays["image"][row]
        return View(
            image,
            np.unpackbits(arrays["mask"][row]).reshape(image.shape[:2]).view(bool),
            arrays["part"][row],
            arrays["height"][row],
            arrays["points"][row],
            arrays["seen"][row],
            float(arrays["visible"][row]),
            tuple(arrays["box"][row].tolist()),
        )

    @plain_torch()
    def batch(
        self,
        indices: Tensor | Sequence[int],
        config: CompositeConfig,
        random: KeyedRandom,
        size: tuple[int, int] = (256, 128),
    ) -> LabelledBatch:
        """Augmented images with their truth.

        An image of the batch depends on its index, its key, the configuration and the set alone:
        rows of a batch, drawn with their keys, equal those of the whole batch.

        Args:
            indices: (B,) images, from 0.
            config: Probabilities of the changes.
            random: Source with the keys of B images, such as
                ``KeyedRandom.keyed(seed, step, torch.arange(B))``.
            size: Height and width of the images, multiples of 16.

        Raises:
            ValueError: B = 0, a size out of range, or another number of keys.
        """
        rows = self._rows(indices, size)
        if len(random) != len(rows):
            raise ValueError(f"random must have {len(rows)} keys; got {len(random)}")
        made = [
            self._augmented(row, config, Draws(key), size)
            for row, key in zip(rows, random.keys.tolist(), strict=True)
        ]
        return self._stacked(rows, [each for each, _ in made], [prompt for _, prompt in made])

    @plain_torch()
    def clean_batch(
        self, indices: Tensor | Sequence[int], size: tuple[int, int] = (256, 128)
    ) -> LabelledBatch:
        """Unchanged images with their truth, without prompts, for validation.

        Args:
            indices: (B,) images, from 0.
            size: Height and width of the images, multiples of 16.
        """
        rows = self._rows(indices, size)
        made = []
        for row in rows:
            layers = Layers.of(self.view(row))
            made.append(sample(layers, whole_frame(layers.own.shape, size)))
        return self._stacked(rows, made, [None] * len(rows))

    def _rows(self, indices: Tensor | Sequence[int], size: tuple[int, int]) -> list[int]:
        rows: list[int] = torch.as_tensor(indices).tolist()
        if not rows:
            raise ValueError("indices must name at least one of the images; got none")
        if min(rows) < 0 or max(rows) >= len(self):
            raise ValueError(f"indices must be in [0, {len(self)}); got {min(rows)}..{max(rows)}")
        if size[0] % CELL or size[1] % CELL or min(size) < CELL:
            raise ValueError(f"size must be multiples of {CELL}, at least {CELL}; got {size}")
        return rows

    def _other(self, pid: int, draws: Draws) -> View:
        """Image of another identity with a large enough person; any, in a set of one identity."""
        identity = self._arrays["identity"]
        row = 0
        for _ in range(20):
            row = int(self._usable[draws.integer(0, len(self._usable))])
            if identity[row] != pid:
                break
        return self.view(row)

    def _augmented(
        self, row: int, config: CompositeConfig, draws: Draws, size: tuple[int, int]
    ) -> tuple[Sampled, np.ndarray | None]:
        layers = self._composed(row, config, draws)
        crop = draws.group(_CROP)
        if crop.flag(config.crop):
            frame = detector_frame(layers, crop, size)
        else:
            frame = whole_frame(layers.own.shape, size)
        found = sample(layers, frame)
        image = lit(found.image, found.own, config, draws.group(_LIGHT))
        image = degraded(image, config, draws.group(_SENSOR))
        found = Sampled(image, found.own, found.others, found.part, found.height, found.points)
        ask = draws.group(_PROMPT)
        return found, draw_prompt(found, ask) if ask.flag(config.prompt) else None

    def _composed(self, row: int, config: CompositeConfig, draws: Draws) -> Layers:
        """The person with another background, other people and things."""
        pid = int(self._arrays["identity"][row])
        view = self.view(row)
        if draws.group(_MIRROR).flag(config.mirror):
            view = mirrored(view)
        layers = Layers.of(view)

        def other(source: Draws) -> View:
            return self._other(pid, source)

        alone = draws.group(_EMPTY)
        if alone.flag(config.empty):
            return without_person(layers, alone, other)
        steps = [
            (_BACKGROUND, config.background, new_background),
            (_BEHIND, config.behind, add_behind),
        ]
        front = [(_FRONT, config.front, add_people), (_THINGS, config.things, add_things)]
        if draws.group(_ORDER).flag(0.5):
            front.reverse()
        for group, probability, step in [*steps, *front]:
            stream = draws.group(group)
            if stream.flag(probability):
                layers = step(layers, stream, other)
        return layers

    def _stacked(
        self, rows: list[int], made: list[Sampled], prompts: Sequence[np.ndarray | None]
    ) -> LabelledBatch:
        parts = np.stack([part_fractions(each) for each in made])
        heights, weights = zip(*(body_heights(each) for each in made), strict=True)
        none = np.zeros((2, *parts.shape[2:]), np.float32)
        images = np.stack([each.image.transpose(2, 0, 1) for each in made])
        return LabelledBatch(
            torch.from_numpy(np.ascontiguousarray(images, np.float32)),
            torch.from_numpy(parts),
            torch.from_numpy(np.stack(heights)),
            torch.from_numpy(np.stack(weights)),
            torch.from_numpy(np.stack([none if each is None else each for each in prompts])),
            self.pids[rows],
            self.camids[rows],
        )


def _arrays(images: LabelledImages, labels: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of a shard as they are kept."""
    part, height = _filled(images.vertex, *labels)
    image = np.empty(len(images), object)  # rows, so that no joined copy is made
    image[:] = list(images.image)
    return {
        "image": image,
        "mask": np.packbits(images.mask.reshape(len(images), -1), axis=1),
        "part": part,
        "height": height,
        "points": images.keypoints.astype(np.float32),
        "seen": images.keypoint_visibility > 0.75,
        "visible": images.visible_fraction.astype(np.float32),
        "box": np.array([visible_box(each) for each in images.amodal], np.float32),
        "fraction": images.mask.mean((1, 2), dtype=np.float32),
        "identity": images.identity.astype(np.int64),
        "camera": images.camera.astype(np.int64),
    }


def _filled(
    vertex: np.ndarray, part: np.ndarray, height: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of (N, h, w) vertices; cells off the person take those of the nearest cell on it.

    Pixels at an outline are the person's in cells with a middle that is not.
    """
    filled = vertex.copy()
    for _ in range(_FILLED):
        padded = np.pad(filled, ((0, 0), (1, 1), (1, 1)), constant_values=-1)
        for rows, columns in ((0, 1), (2, 1), (1, 0), (1, 2)):
            near = padded[:, rows : rows + vertex.shape[1], columns : columns + vertex.shape[2]]
            filled = np.where(filled < 0, near, filled)
    filled = np.maximum(filled, 0)
    return part[filled], height[filled]
