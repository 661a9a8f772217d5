"""Dense local features on the visible surface of a person, with a part map and a global embedding.

The backbone is that of EfficientNet-Lite0. Local features are compared by late interaction
(`og_reid.ops.late_interaction`) under the part map, the global embedding selects candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .efficientnet_lite import EfficientNetLite
from .embedding import Embedding
from .init import init_from_generator
from .local_features import BODY_PARTS, LocalFeatures

__all__ = ["DenseOutput", "DenseReID", "Positions"]

#: Place of a cell that late interaction compares: predicted height on the body, or image row.
Positions = Literal["body", "image"]
_WIDTH = 64  # channels of the part head
_POOLED = 96  # channels that are pooled for the global embedding
_ENOUGH = 0.02  # visible surface at which a part counts fully, fraction of all cells
_EPS = 1e-6


@dataclass(frozen=True, eq=False)
class DenseOutput:
    """Output of a `DenseReID` for B images; h x w = H / 16 x W / 16 cells, row by row.

    Attributes:
        local: (B, h * w, C) unit vectors.
        logits: (B, P + 1, H / 8, W / 8) of the part map; class 0: not the person's visible surface.
        height: (B, h * w) predicted height on the body, 0 at the feet, 1 at the top of the head.
        pooled: (B, D) global embedding, not normalised.
        reliability: (B, h * w) how much a cell says about the identity, above 0, up to a factor for
            each image; None if all cells count alike.
    """

    local: Tensor
    logits: Tensor
    height: Tensor
    pooled: Tensor
    reliability: Tensor | None = None


class _Separable(nn.Sequential):
    """Depthwise 5 x 5 and pointwise convolution."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__(
            nn.Conv2d(
                width, width, 5, padding=2 * dilation, dilation=dilation, groups=width, bias=False
            ),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )


class DenseReID(nn.Module):
    """Dense local features, part map and global embedding.

    Args:
        dim: C, channels of local features.
        embedding_dim: D, channels of the global embedding.
        positions: `Positions` for late interaction.
        reliability: largest logarithm of a cell's reliability, as in R2D2 (Revaud et al., NeurIPS
            2019): plain cells, outlines and doubtful ones count less; 0: all count alike.
        context_blocks: further blocks of the backbone, at stride 32, for the part map alone.
        generator: source of the initial weights.
    """

    #: Cells are weighted by the part map of the network, not by a given mask.
    needs_masks: bool = False
    mean: Tensor
    scale: Tensor

    @init_from_generator
    def __init__(
        self,
        dim: int = 128,
        embedding_dim: int = 256,
        *,
        positions: Positions = "image",
        reliability: float = 0.0,
        context_blocks: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if min(dim, embedding_dim) < 1:
            raise ValueError(
                f"dim and embedding_dim must be at least 1; got {dim} and {embedding_dim}"
            )
        if positions not in ("body", "image"):
            raise ValueError(f"positions must be 'body' or 'image'; got {positions!r}")
        if not 0 <= reliability <= 3:
            raise ValueError(f"reliability must be in [0, 3]; got {reliability}")
        self.dim, self.embedding_dim, self.positions = dim, embedding_dim, positions
        self.reliability = reliability
        self.backbone = EfficientNetLite(context_blocks)
        fine, middle, coarse = EfficientNetLite.channels
        raw = fine + middle + coarse
        self.register_buffer("mean", torch.zeros(raw))
        self.register_buffer("scale", torch.ones(raw))
        self.project = nn.Conv2d(raw, dim, 1)
        parts = len(BODY_PARTS)
        self.part_fine = nn.Conv2d(fine + 4, _WIDTH, 1)
        self.part_coarse = nn.Conv2d(middle + coarse, _WIDTH, 1)
        self.part_context = nn.Linear(coarse, _WIDTH)
        wide = EfficientNetLite.context_channels
        self.part_wide = nn.Conv2d(wide, _WIDTH, 1) if context_blocks else None
        self.part_layers = nn.ModuleList(_Separable(_WIDTH, dilation) for dilation in (1, 2, 4, 1))
        self.part_logits = nn.Conv2d(_WIDTH, parts + 1, 1)
        self.body_height = nn.Conv2d(_WIDTH, 1, 1)
        self.log_reliability = nn.Conv2d(raw, 1, 1) if reliability else None
        self.pool_features = nn.Conv2d(raw, _POOLED, 1)
        self.embed_pooled = nn.Linear(_POOLED * (parts + 2) + parts, embedding_dim)
        self._initialize(generator)

    @torch.no_grad()
    def _initialize(self, generator: torch.Generator | None) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for last in (self.part_logits, self.body_height, self.log_reliability):
            if last is not None:
                last.weight.mul_(0.01)  # nearly uniform maps at first

    def architecture(self) -> dict[str, Any]:
        """Arguments of the network, as plain values."""
        return {
            "dim": self.dim,
            "embedding_dim": self.embedding_dim,
            "positions": self.positions,
            "reliability": self.reliability,
            "context_blocks": self.backbone.context_blocks,
        }

    @torch.no_grad()
    def shift_background(self, shift: float) -> None:
        """Subtracts a constant from the background's logit: part maps become more generous."""
        assert self.part_logits.bias is not None
        self.part_logits.bias[0] -= shift

    def freeze(self, blocks: int) -> None:
        """Excludes the stem and the first blocks of the backbone from training."""
        frozen = [] if blocks == 0 else [self.backbone.stem, *self.backbone.blocks[:blocks]]
        for module in frozen:
            module.requires_grad_(False)

    def parameter_groups(self, backbone_lr: float) -> list[dict[str, Any]]:
        """Parameter groups with learning-rate factors.

        Folded weights differ in scale by two orders: their factors are relative to their root mean
        square, so that all change by the same fraction in a step.

        Args:
            backbone_lr: Factor of weights of the backbone and the projection with a root mean
                square of 0.1; heads have 1.
        """
        groups: list[dict[str, Any]] = []
        tuned = [("backbone.", self.backbone), ("project.", self.project)]
        for _, module in tuned:
            for parameter in module.parameters():
                if parameter.requires_grad:
                    spread = parameter.detach().square().mean().sqrt().item()
                    factor = max(spread, 0.01) / 0.1 if parameter.dim() > 1 else 1.0
                    groups.append({"params": [parameter], "lr": backbone_lr * factor})
        prefixes = tuple(prefix for prefix, _ in tuned)
        heads = [
            parameter
            for name, parameter in self.named_parameters()
            if parameter.requires_grad and not name.startswith(prefixes)
        ]
        return [*groups, {"params": heads, "lr": 1.0}]

    def load_imagenet(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Loads the backbone's weights; None: `imagenet_weights` of the installed package."""
        self.backbone.load_imagenet(weights)

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Sets the standardisation of raw features, and the projection to their main components.

        Args:
            images: (N, 3, H, W) RGB in [0, 255], some hundred typical images.
        """
        rows = []
        for batch in images.split(32):
            rows.append(self._joined(*self.backbone(batch)[:3]).permute(0, 2, 3, 1).flatten(0, 2))
        raw = torch.cat(rows).double()
        mean = raw.mean(0)
        scale = torch.empty_like(mean)
        start = 0
        # One scale a feature map: channels keep their proportions, maps have equal energy.
        for channels in EfficientNetLite.channels:
            part = slice(start, start + channels)
            scale[part] = (raw[:, part] - mean[part]).square().sum(1).mean().sqrt()
            start += channels
        centred = (raw - mean) / scale
        components = torch.linalg.eigh(centred.T @ centred / len(centred))[1]
        components = components[:, -self.dim :]
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        self.project.weight.zero_()
        self.project.weight[: components.shape[1], :, 0, 0] = components.T.float()
        assert self.project.bias is not None
        self.project.bias.zero_()

    def forward(self, images: Tensor, prompt: Tensor | None = None) -> DenseOutput:
        """Local features, part map and global embedding.

        Args:
            images: (B, 3, H, W) RGB in [0, 255]; H and W multiples of 16.
            prompt: (B, 2, H / 8, W / 8) in [0, 1]: evidence for the person meant, and for other
                people; None: the person at the centre.
        """
        fine, middle, coarse, *context = self.backbone(images)
        head = self._part_features(fine, middle, coarse, context, prompt)
        logits = self.part_logits(head)
        height = functional.avg_pool2d(self.body_height(head), 2).sigmoid()
        raw = self._standardized(fine, middle, coarse)
        local = functional.normalize(self.project(raw), dim=1)
        weights = cell_weights(logits.detach())
        return DenseOutput(
            local=local.flatten(2).transpose(1, 2),
            logits=logits,
            height=height.flatten(1),
            pooled=self._pool(raw, weights),
            reliability=self._reliability(raw),
        )

    def local_features(self, output: DenseOutput) -> LocalFeatures:
        """Local features of an output, for late interaction."""
        weights = cell_weights(output.logits).transpose(1, 2)
        visibility = part_visibility(weights)
        weights = reliable_weights(weights, output.reliability)
        return LocalFeatures(output.local, weights, visibility, self.cell_positions(output))

    @torch.no_grad()
    def embed(self, images: Tensor, prompt: Tensor | None = None) -> Embedding:
        """Global embeddings and local features; arguments as for `forward`."""
        pooled, local = self.pooled_and_local(images, prompt)
        return Embedding(pooled, local=local)

    def pooled_and_local(
        self, images: Tensor, prompt: Tensor | None = None
    ) -> tuple[Tensor, LocalFeatures]:
        """Global embeddings (B, D) and local features; arguments as for `forward`."""
        output = self(images, prompt)
        return output.pooled, self.local_features(output)

    def cell_positions(self, output: DenseOutput) -> Tensor:
        """(B, h * w) positions of the cells."""
        if self.positions == "body":
            return output.height
        rows, columns = output.logits.shape[2] // 2, output.logits.shape[3] // 2
        row = (torch.arange(rows, device=output.local.device) + 0.5) / rows
        return row.repeat_interleave(columns).expand(output.local.shape[0], -1)

    def _part_features(
        self,
        fine: Tensor,
        middle: Tensor,
        coarse: Tensor,
        context: list[Tensor],
        prompt: Tensor | None,
    ) -> Tensor:
        batch, _, rows, columns = fine.shape
        if prompt is None:
            prompt = fine.new_zeros(batch, 2, rows, columns)
        place = _place(rows, columns, fine).expand(batch, -1, -1, -1)
        wide = _enlarged(self.part_coarse(torch.cat([middle, coarse], 1)), (rows, columns))
        if self.part_wide is not None:
            wide = wide + _enlarged(self.part_wide(context[0]), (rows, columns))
        mean = self.part_context(coarse.mean((2, 3)))[..., None, None]
        head = functional.relu(self.part_fine(torch.cat([fine, place, prompt], 1)) + wide + mean)
        for layer in self.part_layers:
            head = head + layer(head)
        return head

    def _joined(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        return torch.cat([functional.avg_pool2d(fine, 2), middle, coarse], 1)

    def _standardized(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        raw = self._joined(fine, middle, coarse)
        return (raw - self.mean[:, None, None]) / self.scale[:, None, None]

    def _reliability(self, raw: Tensor) -> Tensor | None:
        if self.log_reliability is None:
            return None
        bound = self.reliability
        logarithm: Tensor = bound * (self.log_reliability(raw) / bound).tanh()
        return logarithm.exp().flatten(1)

    def _pool(self, raw: Tensor, weights: Tensor) -> Tensor:
        """(B, D) from raw features (B, R, h, w) and weights (B, P, h * w)."""
        features = functional.relu(self.pool_features(raw)).flatten(2)  # (B, F, L)
        mass = weights.sum(2)
        by_part = torch.einsum("bpl,bfl->bpf", weights, features) / (mass[..., None] + 1.0)
        whole = weights.sum(1)  # (B, L)
        mean = (features * whole[:, None]).sum(2) / (whole.sum(1, keepdim=True) + _EPS)
        highest = (features * whole[:, None]).amax(2)
        seen = part_visibility(weights.transpose(1, 2))
        result: Tensor = self.embed_pooled(torch.cat([by_part.flatten(1), mean, highest, seen], 1))
        return result


def cell_weights(logits: Tensor) -> Tensor:
    """(B, P, h * w) fractions of each cell that are visible surface, from logits at stride 8."""
    return functional.avg_pool2d(logits.softmax(1)[:, 1:], 2).flatten(2)


def reliable_weights(weights: Tensor, reliability: Tensor | None) -> Tensor:
    """(B, L, P) weights times the reliability of cells, whose mean over own surface is made 1.

    Args:
        weights: (B, L, P) fractions of each cell that are visible surface.
        reliability: (B, L) above 0; None leaves the weights.
    """
    if reliability is None:
        return weights
    own = weights.sum(2)
    mean = ((reliability * own).sum(1, keepdim=True) + _EPS) / (own.sum(1, keepdim=True) + _EPS)
    return weights * (reliability / mean)[..., None]


def part_visibility(weights: Tensor) -> Tensor:
    """(B, P) visibility of parts, from weights (B, L, P): 1 from a fiftieth of the image on."""
    return (weights.sum(1) / (_ENOUGH * weights.shape[1])).clamp(max=1.0)


def _enlarged(features: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(features, size, mode="bilinear", align_corners=False)


def _place(rows: int, columns: int, like: Tensor) -> Tensor:
    """(1, 2, rows, columns) coordinates in [-1, 1]: down and right."""
    down = (torch.arange(rows, device=like.device) + 0.5) / rows * 2 - 1
    right = (torch.arange(columns, device=like.device) + 0.5) / columns * 2 - 1
    grid = torch.stack(torch.meshgrid(down, right, indexing="ij"))
    return grid[None].to(like.dtype)
