"""Public functions: lift an image, embed clouds and images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args, overload

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from meshes import BodyModel, LiftQuality, PointCloud, load_body
from meshes.lift import Layout
from meshes.lift_people import warn_of_doubts
from pose import Keypoints, Pose, read_image
from pose.deprecation import deprecated_keywords
from pose.image import ImageSource
from pose.literals import Masks
from pose.person_selection import Target
from pose.runtime.defaults import plain_torch

from ..inference.cloud_encoder import CloudEncoder
from ..inference.detections import check_named, detected_input
from ..inference.encoder import EmbedOptions, Encoder, GivenInput
from ..inference.extract import usable_device
from ..inference.fused_encoder import FusedEncoder
from ..inference.given_images import GivenKeypoints, holds_clouds, lift_people
from ..inference.own_surface import OwnSurface, mask_source
from ..inference.pretrained import DEFAULT_MODEL, encoder_for, load_model
from ..models.embedding import Embedding
from ..ops._arguments import whole

__all__ = ["embed", "lift", "load_model"]


@overload
def lift(
    image: ImageSource,
    keypoints: Keypoints | Pose | None = None,
    body: BodyModel | str | Path | None = None,
    *,
    layout: Layout = "surface",
    canonical: bool = False,
    mask: Masks | Tensor | np.ndarray = "own-surface",
    all: Literal[False] = False,
    people: int | Target | None = None,
    return_quality: Literal[False] = False,
) -> PointCloud: ...
@overload
def lift(
    image: ImageSource,
    keypoints: Keypoints | Pose | None = None,
    body: BodyModel | str | Path | None = None,
    *,
    layout: Layout = "surface",
    canonical: bool = False,
    mask: Masks | Tensor | np.ndarray = "own-surface",
    all: Literal[False] = False,
    people: int | Target | None = None,
    return_quality: Literal[True],
) -> tuple[PointCloud, LiftQuality]: ...
@overload
def lift(
    image: ImageSource,
    keypoints: Keypoints | Pose | None = None,
    body: BodyModel | str | Path | None = None,
    *,
    layout: Layout = "surface",
    canonical: bool = False,
    mask: Masks | Tensor | np.ndarray = "own-surface",
    all: Literal[True],
    return_quality: Literal[False] = False,
) -> list[PointCloud]: ...
@overload
def lift(
    image: ImageSource,
    keypoints: Keypoints | Pose | None = None,
    body: BodyModel | str | Path | None = None,
    *,
    layout: Layout = "surface",
    canonical: bool = False,
    mask: Masks | Tensor | np.ndarray = "own-surface",
    all: Literal[True],
    return_quality: Literal[True],
) -> tuple[list[PointCloud], list[LiftQuality]]: ...


@plain_torch()
def lift(
    image: ImageSource,
    keypoints: Keypoints | Pose | None = None,
    body: BodyModel | str | Path | None = None,
    *,
    layout: Layout = "surface",
    canonical: bool = False,
    mask: Masks | Tensor | np.ndarray = "own-surface",
    all: bool = False,
    people: int | Target | None = None,
    return_quality: bool = False,
) -> Any:
    """Lift the person in an image to a coloured point cloud.

    Args:
        image: path, the bytes of a file, binary file object, PIL image, or (H, W, 3) uint8 RGB
            array. Best a crop of one standing person.
        keypoints: keypoints of the person, in pixels of the image; None estimates them (extra
            ``demo``). A ``Pose`` includes a person mask. (P, K) keypoints of several people need
            ``people`` or ``all``.
        body: body model or its file; None for the embedded one.
        layout: ``"surface"``, or ``"reference"`` for the point layout of the OG-Net authors: one
            point per pixel of the image resized to 128 x 64, body vertices first.
        canonical: body in the resting pose, for models trained with ``data.canonical``; only for
            layout ``"surface"``.
        mask: pixels that show the person's own surface, by which points are coloured and the body
            is placed. ``"own-surface"``: by the default model for images, where it is sure (else
            as ``"pose"``); about 10 ms. ``"pose"``: by the estimator's mask of people, which takes
            what stands in front of the person for the person. Or (H, W) floating point in [0, 1],
            the probabilities for the only person.
        all: lift all people in the image: a list of clouds. The first is the person lifted
            without ``all``, then the others (estimated ones from left to right).
        people: person to lift: an index into the result of ``all``, or a rule of
            ``pose.select_person``, such as ``"largest"`` or ``"most_central"``.
        return_quality: also return the quality of the lift, see ``meshes.LiftQuality``: the result
            is ``(cloud, quality)``, with ``all`` a list of clouds and a list of qualities.

    Returns:
        All body vertices (hidden ones grey and not ``visible``) and sampled background, or the
        8192 points of the reference layout. Metres, camera-aligned: x right, y up, z towards the
        camera (the authors' files have y down and z away: ``meshes.write_reference_obj``).

    Raises:
        NoPersonError: no person was found.
        FileNotFoundError: the file does not exist.
        ValueError: the image is unreadable, keypoints are no pixels of it, the index of the person
            is out of range, or an argument is invalid.
        TypeError: keypoints are of another type.
        ImportError: keypoints are to be estimated and mediapipe is missing.

    Warns:
        InputWarning: the lift is unreliable: several people without ``people``, keypoints and body
            disagree, low scores, or a dark, grey or small image.
    """
    if all and people is not None:
        raise ValueError("all and people exclude each other: give one of them")
    masks = _mask_source(mask, all)
    pixels = read_image(image)
    model = body if isinstance(body, BodyModel) else load_body(body)
    lifts, qualities = lift_people(
        pixels, keypoints, model, layout=layout, all=all, people=people, masks=masks
    )
    warn_of_doubts(qualities)
    clouds = [each.canonical() if canonical else each.cloud for each in lifts]
    if not all:
        return (clouds[0], qualities[0]) if return_quality else clouds[0]
    return (clouds, qualities) if return_quality else clouds


def _mask_source(mask: Masks | Tensor | np.ndarray, several: bool) -> OwnSurface | Tensor | None:
    """Argument ``masks`` of `lift_people`.

    Raises:
        ValueError: ``mask`` is another name or type, or one mask for several people.
    """
    if isinstance(mask, str) and mask in get_args(Masks):
        return mask_source(mask)
    if not isinstance(mask, Tensor | np.ndarray):
        raise ValueError(
            f"mask must be one of {', '.join(get_args(Masks))}, or an (H, W) array of "
            f"probabilities; got {mask!r}"
        )
    if several:
        raise ValueError("mask must be a name with all=True: an array is of one person")
    return torch.as_tensor(mask)


@overload
def embed(
    inputs: Any,
    model: CloudEncoder | Literal["default"] = ...,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    *,
    keypoints: None = None,
    clouds: None = None,
) -> Tensor: ...
@overload
def embed(
    inputs: Any,
    model: FusedEncoder,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    *,
    keypoints: GivenKeypoints = None,
    clouds: Any = None,
) -> Embedding: ...
@overload
def embed(
    inputs: Any,
    model: str | Path | Encoder = ...,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    *,
    detections: Any = None,
    keypoints: GivenKeypoints = None,
    clouds: Any = None,
) -> Tensor | Embedding: ...


@deprecated_keywords
@plain_torch()
def embed(
    inputs: Any,
    model: str | Path | Encoder = DEFAULT_MODEL,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    *,
    detections: Any = None,
    keypoints: GivenKeypoints = None,
    clouds: Any = None,
) -> Tensor | Embedding:
    """Embed point clouds or images; embeddings of one identity are similar.

    Args:
        inputs: one or many. For a model of clouds: ``PointCloud``; (N, 6) array or tensor (xyz in
            metres with y up, rgb in [0, 1]); Open3D, trimesh or torch-geometric cloud; path to
            ``.ply``, ``.npz`` or ``.obj`` for ``meshes.read_pointcloud`` (for a file in an unknown
            frame, read it with ``frame=``); a sequence of those; (B, N, 6); a torch-geometric
            ``Batch``. Coordinates and colours of any numeric type by the rules of ``PointCloud``.
            Background is removed if enough of the body is visible. Points that are not ``visible``
            have positions only, no colour; for types without visibility, points of exactly middle
            grey are hidden and all points count as body (give ``cloud.body()`` of a lifted cloud).
            A model of the reference layout needs all points in their order instead: from
            ``lift(..., layout="reference")`` or ``.obj``. For a model of images, or of both: images
            as for ``lift``, best crops of one person; a sequence of those; (B, H, W, 3).
        model: ``"default"`` (dense local features for images, OG-Net-Small for point clouds),
            another name for ``load_model``, a file or folder written by ``og-reid train`` or
            ``og-reid fuse``, or a result of ``load_model``; a custom network as
            ``og_reid.inference.CloudEncoder``, with the ``og_reid.inference.Preprocessing`` of its
            training.
        batch_size: inputs per forward pass; changes speed and memory only.
        device: device of the computation; None: that of the model (the CPU after loading).
        detections: boxes of people in one image, ``inputs``: ``supervision.Detections``, another
            object with ``xyxy``, or an array or tensor (N, 4) of left, top, right and bottom in
            pixels. The rows of the result are those of the boxes. Boxes are cut at the image's
            borders, and crops have a margin of 5 % of the box on each side, at least 16 x 8 pixels.
            Masks in ``mask``, (N, H, W), are used. For models of images.
        keypoints: for images: keypoints of the person, in pixels of the image; for many images a
            sequence with those of each, or None. Without them they are estimated (extra ``demo``)
            for a network guided by keypoints and for the lift of a model of both; otherwise all
            parts count as visible.
        clouds: for a model of both: point clouds of the same images; None lifts them.

    Returns:
        Models without parts, such as those of clouds: a tensor (D,) for one input, (B, D) for many,
        float32 on the CPU; unit norm, so that dot products are similarities. D = 512 for the
        default model of point clouds, 256 for that of images, whose local features
        (``og_reid.describe``) say more. Models with parts, such as PGFA and fused ones: an
        `Embedding` of 1 or B rows, for ``load_model(...).compare`` or ``og_reid.evaluate``.

    Warns:
        InputWarning: once per kind: bodies not between 0.3 and 3 m long in any direction, files in
            an unknown frame, colours almost black for their type, float32 coordinates far from
            the origin, keypoints outside of their image.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a cloud is of an unknown type, empty, has too few points, NaN, colours
            outside [0, 1], or a body not between 0.03 and 10 long, thus not in metres; an image is
            unreadable; the model takes another kind of input; a box has no area, is not finite or
            lies outside of the image.
        ImportError: keypoints are to be estimated and mediapipe is missing.
    """
    if isinstance(batch_size, bool) or whole("batch_size", batch_size) < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1; got {batch_size!r}")
    where = None if device is None else usable_device(device)
    check_named(model)
    encoder = encoder_for(model, clouds=holds_clouds(inputs))
    if keypoints is not None and encoder.inputs == "cloud":
        raise ValueError("keypoints are for models of images; this one takes point clouds")
    if clouds is not None and encoder.inputs != "both":
        raise ValueError("clouds are for models of both; give them as inputs of a model of clouds")
    given, count = GivenInput(inputs, keypoints, clouds), None
    if detections is not None:
        given, count = detected_input(inputs, detections, encoder, keypoints, clouds)
    items, single = encoder.accept(replace(given, own_surface=OwnSurface()))
    if where is not None:
        encoder = encoder.to(where)
    options = EmbedOptions(batch_size=int(batch_size))
    found = Embedding.cat(encoder.embed(items, options))[:count]
    if encoder.has_parts or found.features is None or isinstance(encoder, FusedEncoder):
        return found
    features = found.features if encoder.inputs == "cloud" else _unit(found.features)
    return features[0] if single else features


def _unit(features: Tensor) -> Tensor:
    """Rows of length 1."""
    return functional.normalize(features.float(), dim=1)
