"""A kind of model from outside of the package: one class, one registration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import og_reid
from encoder_kinds import made_image
from og_reid import Embedding
from og_reid.data import Sample, load_market
from og_reid.evaluation import evaluate_distances
from og_reid.inference import (
    EmbedOptions,
    Encoder,
    load_model,
)
from og_reid.inference.fusion import FusionConfig
from og_reid.inference.given_images import ArraySet, as_images
from og_reid.inference.model_file import FileContent, FileKind, write_model
from og_reid.inference.pretrained import _KINDS, register_kind
from og_reid.pipelines import (
    DataSpec,
    EvaluateSpec,
    FuseSpec,
    evaluate,
    fuse,
)


@dataclass(frozen=True, eq=False)
class MeanColor:
    """A kind of model of one's own: the mean colour of an image, over a learned gain."""

    model: nn.Linear = field(default_factory=lambda: nn.Linear(3, 3))
    preprocessing: str = "as it is"
    training: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    inputs = "image"
    has_parts = needs_keypoints = False
    has_global = True

    def check(self, options: EmbedOptions) -> None:
        assert not options.mirror

    def check_identities(self, pids: Tensor, dataset: str | None) -> None:
        pass

    def accept(self, given: Any) -> tuple[ArraySet, bool]:
        images, single = as_images(given.items)
        return ArraySet(images, [None] * len(images), parts=0), single

    def prepare(self, splits: Sequence[Sequence[Sample]], source: Any) -> tuple[ArraySet, ...]:
        from og_reid.data import ImageSet

        return tuple(ImageSet(samples, lambda _: None, parts=0) for samples in splits)

    def embed(
        self, items: Any, options: Any = None, *, progress: Any = None
    ) -> Iterator[Embedding]:
        colors = [items.read(each).mean((0, 1)) for each in items.samples]
        with torch.no_grad():
            yield Embedding(self.model(torch.tensor(np.stack(colors), dtype=torch.float32)))

    def searches(
        self, name: str, query: Any, gallery: Any, options: Any = None, *, progress: Any = None
    ) -> dict[str, tuple[Embedding, Embedding]]:
        return {name: (next(self.embed(query)), next(self.embed(gallery)))}

    def compare(self, query: Embedding, gallery: Embedding) -> Tensor:
        return -torch.cdist(query.features, gallery.features)

    def search(self, query: Embedding, gallery: Embedding) -> Tensor:
        return -self.compare(query, gallery)

    def to(self, device: Any) -> MeanColor:
        return self

    def save(self, path: str | Path) -> None:
        write_model(path, FileContent("test mean colour", self.model.state_dict(), {}, {}))


@pytest.fixture
def own_kind() -> Iterator[None]:
    before = dict(_KINDS)
    make = MeanColor
    register_kind(
        FileKind("test mean colour", lambda _: nn.Linear(3, 3), lambda _: "as it is", make)
    )
    yield
    _KINDS.clear()
    _KINDS.update(before)


def test_a_custom_kind_is_one_class(
    own_kind: None, data: Path, tmp_path: Path, known: dict[str, Encoder]
) -> None:
    model = MeanColor()
    assert isinstance(model, Encoder)
    model.save(tmp_path / "color.safetensors")
    again = load_model(tmp_path / "color.safetensors")
    assert isinstance(again, MeanColor)
    images = [made_image(11), made_image(12)]
    found = og_reid.embed(images, again)
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(found, og_reid.embed(images, model))
    (row,) = evaluate(EvaluateSpec(DataSpec(data), model, name="color"))
    colors = [
        next(model.embed(model.prepare([samples], None)[0])).features
        for samples in (load_market(data).query, load_market(data).gallery)
    ]
    pids = torch.arange(11, 15)
    expected = evaluate_distances(torch.cdist(*colors), query_pids=pids, gallery_pids=pids)
    assert (row.method, row.metrics.mAP) == ("color", expected.mAP)
    known["pgfa"].save(tmp_path / "pgfa.safetensors")
    fixed = FusionConfig(cloud_weight=1.0, part_weight=0.0)
    files = tmp_path / "pgfa.safetensors", tmp_path / "color.safetensors"
    fuse(FuseSpec(fixed, *files, tmp_path / "both"))
    rows = evaluate(EvaluateSpec(DataSpec(data), tmp_path / "both"))
    assert [row.method for row in rows] == ["both", "both first", "both second"]
    with pytest.raises(ValueError, match="is that of another kind"):
        register_kind(
            FileKind("og_reid.model", lambda _: nn.Linear(1, 1), lambda _: None, MeanColor)
        )
