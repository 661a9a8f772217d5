"""OG-Net: a network that embeds the coloured point cloud of one person.

After "Parameter-Efficient Person Re-identification in the 3D Space" (Zheng et al., TNNLS 2022).
Parameter names and shapes are those of the authors' release, so their weights load.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.gather import gather_rows
from ..ops.knn import knn
from ..ops.sampling import ball_query, farthest_point_sample, nearest_in_radius
from .edge_conv import NeighborMix, edge_conv
from .set_abstraction import RADII, SetAbstraction

__all__ = ["PRESETS", "OGNet"]

#: Architectures of the paper, by name.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "ognet-small": {"dims": (48, 96, 192, 384), "k": 20},
    "ognet": {"dims": (64, 128, 256, 512), "k": 20},
    "ognet-deep": {
        "dims": (48, 96, 96, 192, 192, 384, 384),
        "k": 9,
        "num_conv": 2,
        "residual": True,
    },
}
#: Slots per ball of the three scales in the paper.
BALL_COUNTS = (8, 16, 32)
#: How far outside [-0.5, 0.5] a colour may lie before it is refused (room for augmentation).
COLOR_MARGIN = 0.1
SLOPE = 0.2


class OGNet(nn.Module):
    """Embed coloured point clouds of persons.

    Each layer convolves the edges of a neighbour graph (in space, but in space and features in
    the last layer); a layer wider than the one before also samples its points down: to
    `num_points`, then to half of that each time.

    Args:
        dims: channels after each layer.
        k: neighbours per point in the graphs, the point itself included.
        num_conv: edge convolutions per layer.
        residual: mix each layer's output with its input.
        num_points: points kept by the first down-sampling; a cloud needs at least as many.
        embedding_dim: length of the descriptor.
        num_classes: identities of the training classifier; 0 builds none.
        dropout: share of the descriptor dropped before the classifier.
        mode: `reference` repeats the released model, whose result depends on the order of the
            points and on their origin (their mean must be 0); `robust` depends on the set of
            points only and not on its position. Weights are trained for one of the two.
        ball_counts: slots per ball of the three scales; fewer are faster.
        generator: source of the initial weights; None uses torch's global one.

    Raises:
        ValueError: when the numbers do not fit together.
    """

    def __init__(
        self,
        dims: tuple[int, ...] = (48, 96, 192, 384),
        k: int = 20,
        num_conv: int = 1,
        residual: bool = False,
        num_points: int = 768,
        embedding_dim: int = 512,
        num_classes: int = 0,
        dropout: float = 0.7,
        mode: Literal["robust", "reference"] = "robust",
        ball_counts: tuple[int, int, int] = BALL_COUNTS,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if mode not in ("robust", "reference"):
            raise ValueError(f"mode must be 'robust' or 'reference'; got {mode!r}")
        inputs = (3, *dims[:-1])
        self.wider = tuple(a != b for a, b in zip(dims, inputs, strict=False))
        _check_sizes(dims, self.wider, k, num_points)
        self.dims, self.k, self.num_conv, self.residual = tuple(dims), k, num_conv, residual
        self.num_points, self.dropout, self.mode = num_points, dropout, mode
        self.ball_counts = tuple(ball_counts)
        pairs = [
            (wide if turn else narrow, wide)
            for narrow, wide in zip(inputs, dims, strict=True)
            for turn in range(num_conv)
        ]
        self.conv = nn.ModuleList(nn.Conv2d(2 * a, b, 1) for a, b in pairs)
        self.bn = nn.ModuleList(nn.BatchNorm2d(b) for _, b in pairs)
        self.agg = nn.ModuleList(NeighborMix() for _ in pairs)
        steps = [(a, b) for a, b, w in zip(inputs, dims, self.wider, strict=True) if w]
        self.sa = nn.ModuleList(SetAbstraction(b) for _, b in steps)
        if residual:
            self.conv_s2 = nn.ModuleList(
                nn.Sequential(nn.Linear(a, b), nn.LeakyReLU(SLOPE)) for a, b in steps
            )
            self.p_w = nn.Parameter(torch.zeros(len(dims)))
        self.embs = nn.ModuleList([nn.Linear(2 * dims[-1], embedding_dim, bias=False)])
        self.bn_embs = nn.ModuleList([nn.BatchNorm1d(embedding_dim)])
        self.proj_output = nn.Linear(embedding_dim, num_classes) if num_classes else None
        self._initialize(generator)

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> OGNet:
        """Build a published architecture: `ognet-small`, `ognet` or `ognet-deep`.

        Args:
            name: which architecture.
            **overrides: arguments of the class that shall differ from the published ones.

        Raises:
            ValueError: on an unknown name.
        """
        if name not in PRESETS:
            raise ValueError(f"name must be one of {', '.join(PRESETS)}; got {name!r}")
        return cls(**{**PRESETS[name], **overrides})

    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        """Embed a batch of clouds.

        Args:
            points: (B, N, 3) metres, y up; N >= num_points.
            colors: (B, N, 3) RGB minus one half, in [-0.5, 0.5].

        Returns:
            (B, embedding_dim) descriptors, not normalised.

        Raises:
            ValueError: on wrong shapes, too few points, NaN or Inf, or colours out of range.
        """
        return self._run(points, colors, None)

    def stages(self, points: Tensor, colors: Tensor) -> dict[str, Tensor]:
        """Run the network and return what each stage made.

        Args:
            points: as for `forward`.
            colors: as for `forward`.

        Returns:
            By name: `graph.{c}` (B, n, k) neighbours and `pool.{c}` (B, n, C) output before the
            activation of edge convolution c; `fps.{s}` (B, m) sampled points, `ball.{s}.{r}`
            (B, m, count) neighbours of scale r, `points.{s}` (B, m, 3) and `features.{s}`
            (B, m, C) of down-sampling s; `embedding` and `descriptor` (B, embedding_dim).
        """
        record: dict[str, Tensor] = {}
        self._run(points, colors, record)
        return record

    def classify(self, descriptor: Tensor) -> Tensor:
        """Logits of the training identities.

        Args:
            descriptor: (B, embedding_dim) from `forward`; left as it is, dropout works on a copy.

        Returns:
            (B, num_classes).

        Raises:
            ValueError: when the model was built without a classifier.
        """
        if self.proj_output is None:
            raise ValueError("the model has no classifier: build it with num_classes > 0")
        return self.proj_output(F.dropout(descriptor, self.dropout, self.training))

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load a state dict of the authors' release.

        The `module.` prefix and the unused `logit_scale` are dropped; so is the classifier when
        this model has none. All else must match.
        """
        kept = {key.removeprefix("module."): value for key, value in state.items()}
        kept.pop("logit_scale", None)
        if self.proj_output is None:
            kept = {key: v for key, v in kept.items() if not key.startswith("proj_output.")}
        self.load_state_dict(kept, strict=True)

    def _run(self, points: Tensor, colors: Tensor, record: dict[str, Tensor] | None) -> Tensor:
        _check_clouds(points, colors, self.num_points)
        if self.mode == "robust":
            points = points - points.mean(1, keepdim=True)
        features, keep, step = colors, self.num_points, 0
        near: Tensor | None = None
        for layer, wider in enumerate(self.wider):
            if near is None:
                near = knn(points, min(max(self.k, *self.ball_counts), points.shape[1]))
            skip = features
            features = self._convolve(layer, points, features, near, record)
            if wider:
                picks, balls = self._neighborhoods(points, near, keep, step)
                centers = gather_rows(points, picks)
                features = self.sa[step](points, features, centers, balls)
                if self.residual:
                    skip = self.conv_s2[step](gather_rows(skip, picks))
                points, near = centers, None
                _note_step(record, step, picks, balls, points, features)
                keep, step = keep // 2, step + 1
            if self.residual:
                weight = torch.sigmoid(self.p_w[layer])
                features = torch.lerp(features, skip, weight)
        pooled = torch.cat([features.amax(1), features.mean(1)], dim=-1)
        embedding = self.embs[0](pooled)
        descriptor = self.bn_embs[0](embedding)
        if record is not None:
            record.update(embedding=embedding, descriptor=descriptor)
        return descriptor

    def _convolve(
        self,
        layer: int,
        points: Tensor,
        features: Tensor,
        near: Tensor,
        record: dict[str, Tensor] | None,
    ) -> Tensor:
        """Run the edge convolutions of one layer; `near` (B, n, K) holds neighbours in space."""
        for turn in range(self.num_conv):
            number = layer * self.num_conv + turn
            if layer == len(self.dims) - 1:
                graph = knn(torch.cat([points, features], dim=-1), self.k)
            else:
                graph = near[..., : self.k]
            conv, norm, mix = self.conv[number], self.bn[number], self.agg[number]
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            assert isinstance(mix, NeighborMix)
            pooled = edge_conv(features, graph, conv, norm, mix)
            if record is not None:
                record[f"graph.{number}"], record[f"pool.{number}"] = graph, pooled
            features = F.leaky_relu(pooled, SLOPE)
        return features

    def _neighborhoods(
        self, points: Tensor, near: Tensor, keep: int, step: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Sampled points (B, keep) and their balls, one (B, keep, count) per scale."""
        if self.mode == "reference":
            picks = farthest_point_sample(points, keep, start="first", dead_zone=True)
            centers = gather_rows(points, picks)
            return picks, ball_query(points, centers, RADII, self.ball_counts, order="first")
        if step == 0:
            picks = farthest_point_sample(points, keep, start="farthest")
        else:
            # The points are in the order of the first sampling: its prefix samples them, too.
            picks = torch.arange(keep, device=points.device).expand(points.shape[0], keep)
        index = near.gather(1, picks[..., None].expand(-1, -1, near.shape[-1]))
        index = index[..., : max(self.ball_counts)]
        offset = gather_rows(points, index) - gather_rows(points, picks)[:, :, None]
        squared = offset.detach().square().sum(-1)
        return picks, nearest_in_radius(index, squared, RADII, self.ball_counts)

    @torch.no_grad()
    def _initialize(self, generator: torch.Generator | None) -> None:
        """Initial weights of the paper's code: kaiming for maps, N(1, .02) for norms."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", generator=generator)
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
            elif isinstance(module, nn.modules.batchnorm._BatchNorm):
                nn.init.normal_(module.weight, 1.0, 0.02, generator=generator)
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)
        if self.proj_output is not None:
            nn.init.normal_(self.proj_output.weight, 0.0, 1e-6, generator=generator)


def _note_step(
    record: dict[str, Tensor] | None,
    step: int,
    picks: Tensor,
    balls: tuple[Tensor, ...],
    points: Tensor,
    features: Tensor,
) -> None:
    """Write the results of one down-sampling into the record, if there is one."""
    if record is None:
        return
    record[f"fps.{step}"] = picks
    record.update({f"ball.{step}.{scale}": ball for scale, ball in enumerate(balls)})
    record[f"points.{step}"], record[f"features.{step}"] = points, features


def _check_sizes(dims: tuple[int, ...], wider: tuple[bool, ...], k: int, num_points: int) -> None:
    """Refuse a model whose last graph has fewer points than neighbours."""
    if not dims or min(dims) < 2 or k < 1 or num_points < 1:
        raise ValueError(
            "dims must hold widths >= 2, k and num_points must be positive; got "
            f"dims={dims}, k={k}, num_points={num_points}"
        )
    # Points at the input of the last layer: halved by each widening between it and the first.
    halvings = max(0, sum(wider[:-1]) - 1)
    if num_points >> halvings < k:
        raise ValueError(
            f"num_points must leave k={k} points to the last layer; {num_points} leave "
            f"{num_points >> halvings}: use num_points >= {k << halvings} or a smaller k"
        )


def _check_clouds(points: Tensor, colors: Tensor, num_points: int) -> None:
    """Refuse input the network cannot mean anything on."""
    if points.ndim != 3 or points.shape[-1] != 3:
        raise ValueError(f"points must be (B, N, 3); got {tuple(points.shape)}")
    if colors.shape != points.shape:
        raise ValueError(
            f"colors must have the shape of points, {tuple(points.shape)}; "
            f"got {tuple(colors.shape)}"
        )
    if points.shape[1] < num_points:
        raise ValueError(
            f"points must hold at least num_points={num_points} points per cloud; got "
            f"{points.shape[1]}: repeat points or build the model with a smaller num_points"
        )
    if not bool(torch.isfinite(points).all() & torch.isfinite(colors).all()):
        raise ValueError("points and colors must be finite; got NaN or Inf: remove those points")
    limit = 0.5 + COLOR_MARGIN
    low, high = (float(value) for value in colors.detach().aminmax()) if colors.numel() else (0, 0)
    if low < -limit or high > limit:
        raise ValueError(
            f"colors must be in [-0.5, 0.5]; got values from {low:.3g} to {high:.3g}: divide "
            "8-bit colours by 255, then subtract 0.5"
        )
