"""Model of images without weights: the mean colour, for videos of plain rectangles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from og_reid import Embedding
from og_reid.inference.given_images import ArraySet, as_images
from og_reid.retrieval import Calibration

#: Colours whose unit vectors lie far apart.
COLORS = ((220, 30, 30), (30, 200, 40), (40, 60, 230), (200, 190, 20))


@dataclass(eq=False)
class MeanColor:
    """An encoder; embeddings of one colour have the cosine 1."""

    preprocessing: Any = field(
        default_factory=lambda: SimpleNamespace(calibration=Calibration(-36.0, 40.0))
    )
    training: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    inputs: str = "image"
    seen: list[int] = field(default_factory=list)
    has_parts = needs_keypoints = False
    has_global = True

    def accept(self, given: Any) -> tuple[ArraySet, bool]:
        images, single = as_images(given.items)
        self.seen.append(len(images))
        return ArraySet(images, [None] * len(images), parts=0), single

    def embed(self, items: Any, options: Any = None, **_: Any) -> Iterator[Embedding]:
        colors = np.stack([items.read(each).mean((0, 1)) for each in items.samples])
        yield Embedding(torch.nn.functional.normalize(torch.from_numpy(colors).float(), dim=1))

    def to(self, device: Any) -> MeanColor:
        return self

    check = check_identities = prepare = searches = compare = search = save = to


def frame(people: Sequence[tuple[int, tuple[int, int, int, int]]]) -> np.ndarray:
    """(120, 200, 3) image of rectangles: colour, and left, top, right and bottom."""
    image = np.full((120, 200, 3), 128, np.uint8)
    for color, (left, top, right, bottom) in people:
        image[top:bottom, left:right] = COLORS[color]
    return image
