"""Forms of networks for graphs: named tensors in, named tensors out, with their meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...models.pgfa import PGFA
from ..cloud_encoder import CloudEncoder
from ..dense_encoder import DenseEncoder
from ..encoder import Encoder
from ..exported_network import (
    ExportedCloudNetwork,
    ExportedDenseNetwork,
    ExportedStripeNetwork,
    Run,
)
from ..image_encoder import ImageEncoder

__all__ = ["Form", "form_of"]


@dataclass(frozen=True, eq=False)
class Form:
    """Network of an encoder as a graph takes it.

    Attributes:
        network: Module of the named inputs, in evaluation mode; gives a tuple of the outputs.
        inputs: Meaning of the inputs by name.
        outputs: Meaning of the outputs by name.
        batch: Function from items of the encoder and rows to inputs by name.
        adapter: Class of the network that runs the graph in an encoder.
    """

    network: nn.Module
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    batch: Callable[[Any, Tensor], dict[str, Tensor]]
    adapter: Callable[[Run, Mapping[str, Any]], nn.Module]


def form_of(encoder: Encoder) -> Form:
    """Form of the network of an encoder.

    Raises:
        ValueError: The encoder is of several networks, of a custom kind, or exported already.
    """
    if isinstance(getattr(encoder, "model", None), (
        ExportedCloudNetwork, ExportedDenseNetwork, ExportedStripeNetwork,
    )):  # fmt: skip
        raise ValueError("model must be one of torch; got an exported one: copy its file")
    if isinstance(encoder, CloudEncoder):
        return _cloud_form(encoder)
    if isinstance(encoder, DenseEncoder):
        return _dense_form(encoder)
    if isinstance(encoder, ImageEncoder):
        return _stripe_form(encoder)
    raise ValueError(
        f"model must be one network of point clouds or of images; got {type(encoder).__name__}: "
        "export the models of a fusion one by one"
    )


class _Clouds(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.neck: nn.Module = getattr(model, "neck", None) or nn.Identity()

    def forward(self, points: Tensor, colors: Tensor, **local: Tensor) -> tuple[Tensor]:
        """Embeddings behind the neck."""
        return (self.neck(self.model(points, colors, **local)),)


class _CloudsWithFeatures(_Clouds):
    def forward(self, points: Tensor, colors: Tensor, features: Tensor) -> tuple[Tensor]:  # type: ignore[override]
        """Embeddings behind the neck."""
        return (self.neck(self.model(points, colors, features)),)


def _cloud_form(encoder: CloudEncoder) -> Form:
    channels = getattr(encoder.model, "feature_channels", 0)
    count = encoder.preprocessing.num_points
    inputs = {
        "points": f"(B, {count}, 3) x, y, z in metres, y up; farthest points first"
        if encoder.preprocessing.point_order == "fps"
        else f"(B, {count}, 3) x, y, z in metres, y up, in the order of the reference layout",
        "colors": f"(B, {count}, 3) red, green, blue in [0, 1], minus 0.5",
    }
    if channels:
        inputs["features"] = f"(B, {count}, {channels}) local features of the points"

    def batch(items: Any, rows: Tensor) -> dict[str, Tensor]:
        clouds = items.batch(rows, count)
        points, colors = clouds.network_input()
        local = {"features": clouds.network_features()} if channels else {}
        return {"points": points, "colors": colors, **local}

    network = (_CloudsWithFeatures if channels else _Clouds)(encoder.model)
    outputs = {"embedding": "(B, D) embedding; the similarity is the cosine"}
    return Form(network.eval(), inputs, outputs, batch, ExportedCloudNetwork)


class _Dense(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, prompt: Tensor) -> tuple[Tensor, ...]:
        """Global embedding and local features."""
        pooled, local = self.model.pooled_and_local(images, prompt)  # type: ignore[operator]
        return (pooled, *local.tensors)


def _dense_form(encoder: DenseEncoder) -> Form:
    height, width = encoder.preprocessing.height, encoder.preprocessing.width
    inputs = {
        "images": f"(B, 3, {height}, {width}) red, green, blue in [0, 255], resized to this size; "
        "normalised by the network itself",
        "prompt": f"(B, 2, {height // 8}, {width // 8}) in [0, 1], evidence for the person meant "
        "and for other people; zeros: the person at the centre",
    }
    outputs = {
        "pooled": "(B, D) global embedding; the similarity is the cosine",
        "local": "(B, L, C) unit vectors of the cells, row by row",
        "weights": "(B, L, P) fraction of each cell that shows the person, by body part",
        "visibility": "(B, P) in [0, 1], visibility of the body parts",
        "positions": "(B, L) in [0, 1], place of the cells along body or image",
    }

    def batch(items: Any, rows: Tensor) -> dict[str, Tensor]:
        made = items.batch(rows)
        prompt = made.prompt
        if prompt is None:
            prompt = torch.zeros(len(rows), 2, height // 8, width // 8)
        return {"images": made.images, "prompt": prompt}

    return Form(_Dense(encoder.model).eval(), inputs, outputs, batch, ExportedDenseNetwork)


class _Stripes(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Features of the stripes and of the whole image."""
        return self._results(images, None)

    def _results(self, images: Tensor, heatmaps: Tensor | None) -> tuple[Tensor, ...]:
        if not isinstance(self.model, PGFA):
            codes = self.model.inference_features(self.model(images))  # type: ignore[operator]
            return codes, codes.clone()
        found = self.model(images, heatmaps)
        parts = (found.stripes, found.part_codes) if self.model.parts else ()
        return (*parts, *(() if found.code is None else (found.code,)))


class _GuidedStripes(_Stripes):
    def forward(self, images: Tensor, heatmaps: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Features of the stripes and of the whole image."""
        return self._results(images, heatmaps)


def _stripe_form(encoder: ImageEncoder) -> Form:
    height, width = encoder.preprocessing.height, encoder.preprocessing.width
    guided = encoder.needs_keypoints
    inputs = {
        "images": f"(B, 3, {height}, {width}) red, green, blue in [0, 1], resized to this size, "
        "minus (0.485, 0.456, 0.406), divided by (0.229, 0.224, 0.225)"
    }
    if guided:
        inputs["heatmaps"] = (
            f"(B, K, {height // 16}, {width // 16}) in [0, 1], one for each keypoint"
        )
    parts = {
        "stripes": "(B, P, C) features of the stripes, from top to bottom",
        "part_codes": "(B, P, 256) embeddings of the part heads",
    }
    outputs = {
        **(parts if encoder.has_parts else {}),
        **({"code": "(B, 256) global embedding"} if encoder.has_global else {}),
    }

    def batch(items: Any, rows: Tensor) -> dict[str, Tensor]:
        made = items.batch(rows)
        return {"images": made.images, **({"heatmaps": made.heatmaps.float()} if guided else {})}

    network = (_GuidedStripes if guided else _Stripes)(encoder.model)
    return Form(network.eval(), inputs, outputs, batch, ExportedStripeNetwork)
