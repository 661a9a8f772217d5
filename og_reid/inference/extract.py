"""Embeddings of point clouds and images by a network, batch by batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data.augmentation.transforms import mirror_x
from ..data.clouds.batch import CloudBatch
from ..data.clouds.source import CloudDataset
from ..data.images.image_set import ImageSet
from ..data.images.prompted_set import PromptedSet
from ..models.dense_reid import DenseReID
from ..models.embedding import Embedding
from ..models.imagenet_cells import ImageNetCells
from ..models.local_features import LocalFeatures
from ..models.pgfa import PGFA, Descriptor
from ..models.stripe_net import StripeNet
from .exported_network import ExportedDenseNetwork, ExportedStripeNetwork
from .preprocessing import TestView

__all__ = [
    "cloud_output",
    "embed_batch",
    "embed_images",
    "embed_prompted",
    "embed_set",
    "in_single",
    "usable_device",
]


def usable_device(device: str | torch.device) -> torch.device:
    """Device of a name, checked for availability.

    Args:
        device: Name, such as ``cuda``, or device.

    Raises:
        ValueError: The device is not available.
    """
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).cpu()
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        there = "cpu" + (" or cuda" if torch.cuda.is_available() else "")
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"device must be one that torch can use here, such as {there}; got {device!r} "
            f"({reason[:120]})"
        ) from error
    return found


def in_single(model: nn.Module) -> nn.Module:
    """The model, or a single-precision copy of one of another precision.

    Neighbours are searched in single precision; half precision is slow or inaccurate on a CPU.
    """
    kinds = {each.dtype for each in model.parameters() if each.is_floating_point()}
    return model if kinds <= {torch.float32} else copy.deepcopy(model).float()


@torch.inference_mode()
def embed_batch(
    model: nn.Module, batch: CloudBatch, *, mirror: bool, test_view: TestView = "none"
) -> Tensor:
    """Unit embeddings (B, D) of clouds of one size.

    Args:
        model: Network of points (B, N, 3) in metres and colours (B, N, 3) in [-0.5, 0.5]; put in
            evaluation mode by the caller. One with ``feature_channels`` also takes the features of
            the clouds; others leave them out.
        batch: B clouds, on the model's device.
        mirror: Also embed the clouds with left and right swapped, and average the directions.
        test_view: ``scale-1.1`` adds the output for the cloud 1.1 times as large before the
            normalisation: test-time augmentation of the OG-Net authors.

    Raises:
        ValueError: ``test_view`` is unknown.
    """
    if test_view not in ("none", "scale-1.1"):
        raise ValueError(f"test_view must be 'none' or 'scale-1.1'; got {test_view!r}")
    points, colors = batch.network_input()
    local = (batch.network_features(),) if getattr(model, "feature_channels", 0) else ()
    features = _direction(model, points, (colors, *local), test_view)
    if mirror:
        everything = torch.ones(len(points), dtype=torch.bool, device=points.device)
        swapped = _direction(model, mirror_x(points, everything), (colors, *local), test_view)
        features = functional.normalize(features + swapped, dim=1)
    return features


def _direction(
    model: nn.Module, points: Tensor, values: tuple[Tensor | None, ...], test_view: TestView
) -> Tensor:
    """(B, D) unit vectors; `values` are colours and, where the network takes them, features."""
    features = cloud_output(model, points, values)
    if test_view == "scale-1.1":
        features = features + cloud_output(model, 1.1 * points, values)
    return functional.normalize(features, dim=1)


def cloud_output(model: nn.Module, points: Tensor, values: tuple[Tensor | None, ...]) -> Tensor:
    """(B, D) output of a network of clouds with its neck, not normalised, with gradients.

    Args:
        model: As for `embed_batch`.
        points: (B, N, 3) of `CloudBatch.network_input`.
        values: Colours of it and, where the network takes them, `CloudBatch.network_features`.
    """
    neck = getattr(model, "neck", None) or nn.Identity()
    found: Tensor = neck(model(points, *values))
    return found


def embed_set(
    model: nn.Module,
    clouds: CloudDataset,
    num_points: int,
    batch_size: int = 64,
    *,
    mirror: bool = False,
    test_view: TestView = "none",
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Unit embeddings of all clouds of a set.

    Args:
        model: As for `embed_batch`; its mode is restored. Half- and double-precision models run
            in single precision.
        clouds: n clouds, in the point order that the model was trained with.
        num_points: Points per cloud.
        batch_size: Clouds per forward pass; only changes speed and memory.
        mirror: As for `embed_batch`; report it with the results, see `name_views`.
        test_view: Likewise.
        progress: Called with (clouds done, n).

    Returns:
        (n, D) float32 on the CPU.

    Raises:
        ValueError: The set is empty.
    """
    if len(clouds) == 0:
        raise ValueError("clouds must hold at least one cloud; got none")
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    model = in_single(model)
    training = model.training
    model.eval()
    features = []
    try:
        for start in range(0, len(clouds), batch_size):
            stop = min(start + batch_size, len(clouds))
            batch = clouds.batch(torch.arange(start, stop), num_points).to(device)
            unit = embed_batch(model, batch, mirror=mirror, test_view=test_view)
            features.append(unit.float().cpu())
            if progress is not None:
                progress(stop, len(clouds))
    finally:
        model.train(training)
    return torch.cat(features).clone()


def embed_images(
    network: PGFA | StripeNet | ExportedStripeNetwork,
    images: ImageSet,
    batch_size: int = 32,
    *,
    descriptor: Descriptor = "backbone",
) -> Iterator[Embedding]:
    """Embeddings of images, batch by batch, so that a gallery need not fit in memory.

    Args:
        network: Network of images; its mode is restored.
        images: n images, with as many stripes as the network has parts.
        batch_size: Images per forward pass; only changes speed and memory.
        descriptor: Part features, see `PGFA.embed`.

    Yields:
        Embeddings of at most ``batch_size`` images, on the CPU; `Embedding.cat` joins them, and
        `og_reid.retrieval.similarity.similarity_blocks` compares them block by block.
    """
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    try:
        for rows in torch.arange(len(images)).split(batch_size):
            batch = images.batch(rows)
            pixels, heatmaps = batch.images.to(device), batch.heatmaps.to(device)
            found = network.embed(pixels, heatmaps, batch.visibility, descriptor=descriptor)
            yield found.to("cpu")
    finally:
        network.train(training)


@torch.no_grad()
def embed_prompted(
    network: DenseReID | ImageNetCells | ExportedDenseNetwork,
    images: PromptedSet,
    batch_size: int = 32,
    *,
    mirror: bool = False,
) -> Iterator[Embedding]:
    """Global embeddings and local features of images, batch by batch.

    Args:
        network: Dense network; its mode is restored.
        images: n images.
        batch_size: Images per forward pass; only changes speed and memory.
        mirror: Average with the embeddings of the mirrored images, cell by cell.

    Yields:
        Embeddings of at most ``batch_size`` images, on the CPU.
    """
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    try:
        for rows in torch.arange(len(images)).split(batch_size):
            batch = images.batch(rows).to(device)
            pixels = batch.images.contiguous(memory_format=torch.channels_last)
            found, step = [], _pass_size(device, batch_size)
            for start in range(0, len(rows), step):
                some = slice(start, start + step)
                prompt = None if batch.prompt is None else batch.prompt[some]
                found.append(_embed_views(network, pixels[some], prompt, mirror))
            yield Embedding.cat(found).to("cpu")
    finally:
        network.train(training)


def _pass_size(device: torch.device, batch_size: int) -> int:
    """Images per forward pass; on a CPU so few that feature maps stay in its caches."""
    return 2 * torch.get_num_threads() if device.type == "cpu" else batch_size


def _embed_views(
    network: DenseReID | ImageNetCells | ExportedDenseNetwork,
    pixels: Tensor,
    prompt: Tensor | None,
    mirror: bool,
) -> Embedding:
    found = network.embed(pixels, prompt)
    if not mirror:
        return found
    turned = None if prompt is None else prompt.flip(-1)
    return _averaged(found, network.embed(pixels.flip(-1), turned), pixels.shape[3])


def _averaged(one: Embedding, mirrored: Embedding, width: int) -> Embedding:
    """Mean of the embeddings of images and of mirrored images, whose cells trade places."""
    assert one.features is not None
    assert mirrored.features is not None
    assert one.local is not None
    assert mirrored.local is not None
    columns = width // 16

    def mean(first: Tensor, second: Tensor) -> Tensor:
        cells = second.unflatten(1, (-1, columns)).flip(2).flatten(1, 2)
        return (first + cells) / 2

    first, second = one.local, mirrored.local
    local = LocalFeatures(
        functional.normalize(mean(first.features, second.features), dim=2),
        mean(first.weights, second.weights),
        (first.visibility + second.visibility) / 2,
        mean(first.positions, second.positions),
    )
    whole = [functional.normalize(each, dim=1) for each in (one.features, mirrored.features)]
    return Embedding((whole[0] + whole[1]) / 2, local=local)
