"""Networks of exported models: an encoder runs them in place of a network of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from pose.deprecation import present_value

from ..models.embedding import Embedding
from ..models.local_features import LocalFeatures
from ..models.pgfa import Descriptor
from ..models.point_network import PointNetwork

__all__ = ["ExportedCloudNetwork", "ExportedDenseNetwork", "ExportedStripeNetwork", "Run"]

#: Outputs of an exported network by name, from its inputs by name.
Run = Callable[..., Mapping[str, Tensor]]


class _Exported(nn.Module):
    """Common part: no weights of its own, always on the CPU."""

    def _hold(self, run: Run) -> None:
        self.run = run
        # Callers ask the first parameter for the device.
        self.anchor = nn.Parameter(torch.zeros(0, device="cpu"), requires_grad=False)

    def architecture(self) -> dict[str, Any]:
        """Refused: the file of an exported network is the only form of it.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "an exported model cannot be saved: copy its file, or save the model it was made of"
        )

    def parameter_groups(self, *factors: float) -> list[dict[str, Any]]:
        """Refused: there are no parameters.

        Raises:
            ValueError: Always.
        """
        raise ValueError("an exported model cannot be trained: give the model it was made of")

    def __deepcopy__(self, memo: Any) -> NoReturn:
        raise ValueError("an exported model runs on the CPU alone: leave out device, or give 'cpu'")


class ExportedCloudNetwork(_Exported, PointNetwork):
    """Network of point clouds in an exported model, its neck included.

    Args:
        run: Outputs (``embedding``) from inputs (``points``, ``colors``, maybe ``features``).
        architecture: That of the network that was exported.
    """

    def __init__(self, run: Run, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        self._hold(run)
        self.proj_output, self.dropout = None, 0.0
        self.embedding_dim = int(architecture["embedding_dim"])
        self.feature_channels = int(architecture.get("feature_channels", 0))

    def forward(self, points: Tensor, colors: Tensor, features: Tensor | None = None) -> Tensor:
        """(B, D) embeddings; see `PointNetwork.forward`."""
        local = {} if features is None else {"features": features}
        return self.run(points=points, colors=colors, **local)["embedding"]


class ExportedDenseNetwork(_Exported):
    """Dense network of images in an exported model.

    Args:
        run: Outputs (``pooled``, ``local``, ``weights``, ``visibility``, ``positions``) from inputs
            (``images``, ``prompt``).
        architecture: That of the network that was exported.
    """

    def __init__(self, run: Run, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        self._hold(run)
        self.needs_masks = architecture.get("kind") == "imagenet-cells"

    def embed(self, images: Tensor, prompt: Tensor | None = None) -> Embedding:
        """Global embeddings and local features; see `og_reid.models.DenseReID.embed`."""
        if prompt is None:
            batch, _, height, width = images.shape
            prompt = images.new_zeros(batch, 2, height // 8, width // 8)
        found = self.run(images=images, prompt=prompt)
        local = LocalFeatures(
            *(found[name] for name in ("local", "weights", "visibility", "positions"))
        )
        return Embedding(found["pooled"], local=local)


class ExportedStripeNetwork(_Exported):
    """Network of stripes of images in an exported model: PGFA, its baselines, `StripeNet`.

    Args:
        run: Outputs (``code``, ``stripes``, ``part_codes``, as far as there are any) from inputs
            (``images`` and, guided by keypoints, ``heatmaps``).
        architecture: That of the network that was exported.
    """

    def __init__(self, run: Run, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        self._hold(run)
        self.parts: int | tuple[int, ...] = int(architecture.get("parts", 0))
        if architecture.get("kind") == "stripes":
            self.parts = tuple(n for each in architecture["branches"] for n in each)
        self.global_branch = architecture.get("global_branch", "none")

    def embed(
        self,
        images: Tensor,
        heatmaps: Tensor | None,
        visibility: Tensor | None,
        *,
        descriptor: Descriptor = "backbone",
    ) -> Embedding:
        """Embeddings for retrieval; see `og_reid.models.PGFA.embed`."""
        inputs = {"images": images}
        if self.global_branch == "pose":
            if heatmaps is None:
                raise ValueError("heatmaps must be given to an exported model; got None")
            inputs["heatmaps"] = heatmaps.to(images)
        found = self.run(**inputs)
        name = "stripes" if present_value("descriptor", descriptor) == "backbone" else "part_codes"
        if name not in found:
            return Embedding(found["code"])
        parts = found[name]
        if visibility is None:
            visibility = parts.new_ones(parts.shape[:2])
        return Embedding(found.get("code"), parts, visibility.to(parts))
