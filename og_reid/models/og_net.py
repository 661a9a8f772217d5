"""OG-Net: embeddings of coloured point clouds of a person.

After "Parameter-Efficient Person Re-identification in the 3D Space" (Zheng et al., TNNLS 2022).
Parameter names and shapes are those of the authors' release, so their weights load.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pose.deprecation import SETTING_VALUES, warn_renamed

from ..ops.ball_query import ball_query, nearest_in_radius
from ..ops.fps import farthest_point_sample
from ..ops.gather import gather_neighbors
from ..ops.knn import knn
from ..ops.lattice import Vertices, lattice_vertices
from ..ops.soft_neighbors import SoftNeighbors, masked_knn_graph, soft_knn_graph
from .edge_conv import MaxMeanMix, edge_conv
from .init import init_from_generator
from .point_network import SLOPE, PointNetwork, check_clouds, check_features
from .reference_weights import load_reference, to_reference
from .set_abstraction import RADII, SetAbstraction, note_step
from .soft_layers import (
    lattice_spacing,
    record_stage,
    soft_ball_mean,
    soft_ball_neighbors,
    soft_edge_conv,
    soft_global_pool,
    soft_set_abstraction,
)
from .spec_bounds import check_sizes

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
#: Rules of neighbourhoods and sampling.
Mode = Literal["robust", "reference", "soft"]
#: Slots of the balls of the three scales in the paper.
BALL_COUNTS = (8, 16, 32)


class OGNet(PointNetwork):
    """OG-Net: edge convolutions on neighbour graphs, with multi-scale set abstraction.

    Each layer convolves the edges of a k-nearest-neighbour graph in space (last layer: in space and
    features). A layer wider than the one before is followed by a down-sampling: to `num_points`,
    then to half as many each time.

    Args:
        dims: channels after each layer.
        k: neighbours per point in the graphs, the point itself included.
        num_conv: edge convolutions per layer.
        residual: mix the output of each layer with its input.
        num_points: points after the first down-sampling; a cloud needs at least as many. In soft
            mode the approximate number of lattice vertices of an adult body there, for any number
            of points.
        embedding_dim: length of the embedding.
        num_classes: training identities; 0: no classifier.
        dropout: dropout probability before the classifier.
        mode: `reference`: the rules of the released model, whose embedding depends on the order of
            the points and on their origin (their mean must be 0). `robust`: invariant to order and
            translation. `soft`: continuous in the points as well (`og_reid.models.soft_layers`).
            Weights are trained for one mode.
        ball_counts: slots of the balls of the three scales; fewer are faster.
        feature_channels: local features per point, such as those of `meshes.sample_features`, that
            the network takes beside colours; 0: colours alone.
        generator: source of the initial weights; None: torch's global one.

    Raises:
        ValueError: when the numbers do not fit together.
    """

    ARGUMENTS = (
        *("dims", "k", "num_conv", "residual"),
        *("num_points", "embedding_dim", "mode", "ball_counts", "feature_channels"),
    )

    @init_from_generator
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
        mode: Mode = "robust",
        ball_counts: tuple[int, int, int] = BALL_COUNTS,
        feature_channels: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if mode in SETTING_VALUES["model.mode"]:
            current = SETTING_VALUES["model.mode"][mode]
            warn_renamed(f"mode={mode!r}", f"mode={current!r}")
            mode = cast(Mode, current)
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}; got {mode!r}")
        if feature_channels < 0:
            raise ValueError(f"feature_channels must be at least 0; got {feature_channels}")
        self.wider = tuple(a != b for a, b in zip(dims, (3, *dims[:-1]), strict=False))
        if feature_channels and dims:  # whatever the sum is, the first layer samples points
            self.wider = (True, *self.wider[1:])
        inputs = (3 + feature_channels, *dims[:-1])
        check_sizes(dims, self.wider, k, num_points)
        self.dims, self.k, self.num_conv, self.residual = tuple(dims), k, num_conv, residual
        self.num_points, self.dropout, self.mode = num_points, dropout, mode
        self.ball_counts, self.embedding_dim = tuple(ball_counts), embedding_dim
        self.feature_channels = feature_channels
        pairs = [
            (wide if turn else narrow, wide)
            for narrow, wide in zip(inputs, dims, strict=True)
            for turn in range(num_conv)
        ]
        self.conv = nn.ModuleList(nn.Conv2d(2 * a, b, 1) for a, b in pairs)
        self.bn = nn.ModuleList(nn.BatchNorm2d(b) for _, b in pairs)
        self.agg = nn.ModuleList(MaxMeanMix() for _ in pairs)
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
            name: name of the architecture.
            **overrides: arguments of the class that differ from the published ones.

        Raises:
            ValueError: on an unknown name.
        """
        if name not in PRESETS:
            raise ValueError(f"name must be one of {', '.join(PRESETS)}; got {name!r}")
        return cls(**{**PRESETS[name], **overrides})

    @classmethod
    def from_reference(
        cls,
        weights: str | Path | Mapping[str, Tensor],
        preset: str | None = None,
        *,
        classifier: bool = True,
        **overrides: Any,
    ) -> OGNet:
        """Build the network of a snapshot of the authors' release, in reference mode.

        The architecture is that of `preset`, else of the ``opts.yaml`` beside the snapshot, else
        it follows from the shapes of the weights. In evaluation mode `forward` gives the authors'
        feature, the output of the last BatchNorm.

        Args:
            weights: a snapshot (``model_last.pth``, ``model_average.pth`` or safetensors), or a
                state dict. ``module.`` before the names and the unused ``logit_scale`` are dropped.
            preset: name of a published architecture, or None.
            classifier: keep the classifier of the snapshot, if any. `forward` never uses it.
            **overrides: arguments of the class that differ from those found.

        Raises:
            ValueError: when the file is missing, damaged or holds anything but tensors (no code in
                it is run), or when the weights do not fit the architecture; the message names
                every weight that is missing, unexpected or of another shape.
        """
        return load_reference(cls, PRESETS, weights, preset, classifier, overrides)

    def architecture(self) -> dict[str, Any]:
        """Arguments that build this network again, see `PointNetwork.architecture`."""
        values = super().architecture()
        if not self.feature_channels:  # as in files of earlier versions
            del values["feature_channels"]
        return values

    def to_reference(self, *, prefix: bool = False, logit_scale: bool = False) -> dict[str, Tensor]:
        """State dict for the authors' code, the inverse of `from_reference`.

        The authors' code always has a classifier and always works in reference mode.

        Args:
            prefix: prepend ``module.`` to the names, as in snapshots of several GPUs.
            logit_scale: add the unused scalar of models trained with a metric loss.

        Returns:
            A state dict of copies on the CPU.

        Raises:
            ValueError: when the network takes features, which the authors' code lacks.
        """
        if self.feature_channels:
            raise ValueError(
                "the authors' networks take colours alone; this one has "
                f"feature_channels={self.feature_channels}"
            )
        return to_reference(self.state_dict(), prefix=prefix, logit_scale=logit_scale)

    def forward(self, points: Tensor, colors: Tensor, features: Tensor | None = None) -> Tensor:
        """Embed a batch of point clouds.

        Args:
            points: (B, N, 3) metres, y up; N >= num_points, or N >= 1 in soft mode.
            colors: (B, N, 3) RGB minus one half, in [-0.5, 0.5].
            features: (B, N, feature_channels), zeros where unknown; None without such channels.

        Returns:
            (B, embedding_dim) embeddings, not normalised.

        Raises:
            ValueError: on wrong shapes, too few points, NaN or Inf, or colours out of range.
        """
        return self._run(points, colors, features, None)

    def stages(
        self, points: Tensor, colors: Tensor, features: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Results of each stage of the network.

        Args:
            points: as for `forward`.
            colors: as for `forward`.
            features: as for `forward`.

        Returns:
            By name: `graph.{c}` (B, n, k) neighbours and `pool.{c}` (B, n, C) output before the
            activation of edge convolution c; `fps.{s}` (B, m) sampled points, `ball.{s}.{r}`
            (B, m, count) neighbours of scale r, `points.{s}` (B, m, 3) and `features.{s}`
            (B, m, C) of down-sampling s; `embedding` and `descriptor` (B, embedding_dim). In
            soft mode `weight.{s}` (B, m) of the lattice vertices replaces `fps.{s}`, and
            `graph_weight.{c}` and `ball_weight.{s}.{r}` are the weights of the neighbours.
        """
        record: dict[str, Tensor] = {}
        self._run(points, colors, features, record)
        return record

    def _run(
        self,
        points: Tensor,
        colors: Tensor,
        features: Tensor | None,
        record: dict[str, Tensor] | None,
    ) -> Tensor:
        check_clouds(points, colors, 0 if self.mode == "soft" else self.num_points)
        check_features(features, points, self.feature_channels)
        inputs = colors if features is None else torch.cat([colors, features.to(colors)], dim=-1)
        run = self._run_soft if self.mode == "soft" else self._run_on_points
        pooled = run(points, inputs, record)
        embedding = self.embs[0](pooled)
        descriptor = self.bn_embs[0](embedding)
        if record is not None:
            record.update(embedding=embedding, descriptor=descriptor)
        return descriptor

    def _run_on_points(
        self, points: Tensor, features: Tensor, record: dict[str, Tensor] | None
    ) -> Tensor:
        """All layers of the modes that sample points; (B, 2 * dims[-1])."""
        if self.mode == "robust":
            points = points - points.mean(1, keepdim=True)
        keep, step = self.num_points, 0
        near: Tensor | None = None
        for layer, wider in enumerate(self.wider):
            if near is None:
                near = knn(points, min(max(self.k, *self.ball_counts), points.shape[1]))
            skip = features
            features = self._convolve(layer, points, features, near, record)
            if wider:
                picks, balls = self._neighborhoods(points, near, keep, step)
                centers = gather_neighbors(points, picks)
                features = self.sa[step](points, features, centers, balls)
                if self.residual:
                    skip = self.conv_s2[step](gather_neighbors(skip, picks))
                points, near = centers, None
                note_step(record, step, picks, balls, points, features)
                keep, step = keep // 2, step + 1
            if self.residual:
                weight = torch.sigmoid(self.p_w[layer])
                features = torch.lerp(features, skip, weight)
        return torch.cat([features.amax(1), features.mean(1)], dim=-1)

    def _run_soft(
        self, points: Tensor, features: Tensor, record: dict[str, Tensor] | None
    ) -> Tensor:
        """All layers of soft mode; (B, 2 * dims[-1])."""
        if not points.shape[1]:
            raise ValueError("points must hold at least one point per cloud; got none")
        points = points - points.mean(1, keepdim=True)
        here, spacing = Vertices(points, points.new_ones(points.shape[:2])), None
        step = 0
        graph: SoftNeighbors | None = None
        for layer, wider in enumerate(self.wider):
            if graph is None:
                first = spacing is None
                graph = soft_knn_graph(points, self.k) if first else masked_knn_graph(*here, self.k)
            skip = features
            for turn in range(self.num_conv):
                number = layer * self.num_conv + turn
                if layer == len(self.dims) - 1:
                    rows = torch.cat([here.points, features], dim=-1)
                    graph = masked_knn_graph(rows, here.weight, self.k)
                pooled = soft_edge_conv(features, graph, here.weight, *self._convolution(number))
                if record is not None:
                    record[f"graph.{number}"], record[f"graph_weight.{number}"] = graph
                    record[f"pool.{number}"] = pooled
                features = F.leaky_relu(pooled, SLOPE)
            if wider:
                finer, spacing = spacing, lattice_spacing(step, self.num_points)
                there = lattice_vertices(points, spacing)
                balls = soft_ball_neighbors(there.points, here, self.ball_counts, finer)
                abstraction = self.sa[step]
                assert isinstance(abstraction, SetAbstraction)
                features = soft_set_abstraction(abstraction, here.points, features, there, balls)
                if self.residual:
                    skip = self.conv_s2[step](soft_ball_mean(skip, balls[-1]))
                here, graph = there, None
                record_stage(record, step, balls, there, features)
                step += 1
            if self.residual:
                features = torch.lerp(features, skip, torch.sigmoid(self.p_w[layer]))
        return soft_global_pool(features, here.weight)

    def _convolution(self, number: int) -> tuple[nn.Conv2d, nn.BatchNorm2d, MaxMeanMix]:
        """Weights of one edge convolution."""
        conv, norm, mix = self.conv[number], self.bn[number], self.agg[number]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(mix, MaxMeanMix)
        return conv, norm, mix

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
            pooled = edge_conv(features, graph, *self._convolution(number))
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
            centers = gather_neighbors(points, picks)
            return picks, ball_query(points, centers, RADII, self.ball_counts, order="first")
        if step == 0:
            picks = farthest_point_sample(points, keep, start="farthest")
        else:
            # Points are in the order of the first sampling, so a prefix is a farthest point sample.
            picks = torch.arange(keep, device=points.device).expand(points.shape[0], keep)
        index = near.gather(1, picks[..., None].expand(-1, -1, near.shape[-1]))
        index = index[..., : max(self.ball_counts)]
        offset = gather_neighbors(points, index) - gather_neighbors(points, picks)[:, :, None]
        squared = offset.detach().square().sum(-1)
        return picks, nearest_in_radius(index, squared, RADII, self.ball_counts)
