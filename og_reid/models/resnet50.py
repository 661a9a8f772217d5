"""ResNet-50, the backbone of the image networks, and its ImageNet weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from pose.runtime.torchvision_import import import_torchvision

from ..files.snapshot import read_snapshot
from .state_dict import with_counters

__all__ = ["backbone_map", "imagenet_state", "initialize_backbone", "make_resnet50"]

_INSTALL = "pip install 'og-reid[pgfa]'"


def make_resnet50() -> nn.Module:
    """The ResNet-50 of torchvision with stride 1 in its last stage, without its classifier.

    Raises:
        ImportError: torchvision is missing.
    """
    models = import_torchvision("PGFA's backbone", _INSTALL).models
    network: Any = models.resnet50(weights=None)
    network.layer4[0].conv2.stride = (1, 1)
    network.layer4[0].downsample[0].stride = (1, 1)
    del network.fc, network.avgpool
    module: nn.Module = network
    return module


@torch.no_grad()
def initialize_backbone(network: nn.Module, generator: torch.Generator | None) -> None:
    """Initialises a `make_resnet50` as torchvision does."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )


def backbone_map(network: nn.Module, images: Tensor, stages: int = 4) -> Tensor:
    """Feature map of a `make_resnet50`.

    Args:
        network: the backbone.
        images: (B, 3, H, W) as `og_reid.data.images.preprocess.preprocess_image` gives them; H and
            W multiples of 16.
        stages: number of stages, 3 or 4.

    Returns:
        (B, 2048, H / 16, W / 16); of three stages (B, 1024, H / 16, W / 16).

    Raises:
        ValueError: shapes or dtype do not fit.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(
            f"images must be (B, 3, H, W) floating point; got {tuple(images.shape)} "
            f"{images.dtype}: use og_reid.data.images.preprocess.preprocess_image"
        )
    if images.shape[2] % 16 or images.shape[3] % 16 or not images.numel():
        raise ValueError(
            "images must have H and W that are multiples of 16, and at least one image; got "
            f"{tuple(images.shape)}"
        )
    net = cast("Any", network)
    x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
    features: Tensor = net.layer3(net.layer2(net.layer1(x)))
    return cast("Tensor", net.layer4(features)) if stages == 4 else features


def imagenet_state(weights: str | Path) -> dict[str, Tensor]:
    """Pretrained state dict of `make_resnet50`.

    Args:
        weights: ``"imagenet"`` for torchvision's (IMAGENET1K_V1, downloaded to torch's cache), or
            a file with a state dict of its ``resnet50``.

    Raises:
        ImportError: torchvision is missing.
        ValueError: the weights are unavailable, or of another network.
    """
    models = import_torchvision("PGFA's backbone", _INSTALL).models
    if str(weights) == "imagenet":
        known = models.ResNet50_Weights.IMAGENET1K_V1
        try:
            state: Mapping[str, Tensor] = known.get_state_dict(
                progress=False, check_hash=True, weights_only=True
            )
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"weights 'imagenet' could not be downloaded ({error}): get {known.url} in "
                "another way and give the file as weights=PATH, or none for random ones "
                "(model.init_from=null, in Python weights=None)"
            ) from error
    else:
        state = read_snapshot(weights, marker="layer4.2.conv3.weight").weights
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    wanted = make_resnet50().state_dict()
    state = with_counters(state, wanted)
    problems = [key for key in {**wanted, **state} if _shape(wanted, key) != _shape(state, key)]
    if problems:
        raise ValueError(
            f"weights must be of torchvision's resnet50; {weights} lacks or has other tensors "
            f"than: {', '.join(problems[:5])}{', ...' if len(problems) > 5 else ''}"
        )
    return state


def _shape(state: Mapping[str, Tensor], key: str) -> tuple[int, ...] | None:
    return tuple(state[key].shape) if key in state else None
