"""The front door: lift a photograph, embed clouds, load a model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from meshes import BodyModel, PointCloud, lift_image, load_body
from meshes.lift import Layout
from pose import Keypoints, MediapipePose, NoPersonError, Pose, read_image

from .checkpoint import StoredModel
from .clouds_in import ReferenceClouds, as_pointclouds, check_extents, near_origin
from .data.clouds import CloudSet
from .data.source import CloudSource
from .embedding import Preprocessing, embed_set
from .loading import DEFAULT_MODEL, load_model

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["embed", "lift", "load_model"]


def lift(
    image: str | Path | Image.Image | np.ndarray,
    keypoints: Keypoints | Pose | None = None,
    body: BodyModel | str | Path | None = None,
    *,
    layout: Layout = "surface",
    canonical: bool = False,
) -> PointCloud:
    """Lift the person in a photograph to a coloured point cloud.

    Args:
        image: path, PIL image, or (H, W, 3) uint8 RGB array. Best a crop of one standing person.
        keypoints: where the person's joints are, in pixels of the image; None estimates them
            (needs the extra ``demo``). A ``Pose`` brings a person mask along.
        body: model or file of the user's; None for the embedded one.
        layout: ``"surface"``, or ``"reference"`` for the points of the OG-Net authors' clouds:
            one for each pixel of the photo resized to 128 x 64, the vertices that own one first.
        canonical: give the body in the resting pose, for models trained with ``data.canonical``;
            only of layout ``"surface"``.

    Returns:
        All body vertices (hidden ones grey and not ``visible``) and sampled background, or the
        8192 points of the reference layout. Metres, camera-aligned: x right, y up, z towards the
        camera (the authors' files have y down and z away: ``meshes.write_reference_obj``).

    Raises:
        NoPersonError: nobody was found.
        FileNotFoundError: the path leads nowhere.
        ValueError: the image is not readable, or an argument breaks a rule; the message says.
        TypeError: keypoints are of another type.
        ImportError: keypoints are to be estimated and mediapipe is missing.
    """
    pixels = read_image(image)
    if keypoints is None:
        pose = _estimator()(pixels)
    elif isinstance(keypoints, Keypoints):
        pose = Pose(keypoints)
    elif isinstance(keypoints, Pose):
        pose = keypoints
    else:
        raise TypeError(
            "keypoints must be pose.Keypoints, a pose.Pose or None; got "
            f"{type(keypoints).__name__}: pose.Keypoints(xy, score) takes tensors (17, 2) and (17,)"
        )
    if not pose.found:
        raise NoPersonError(
            "no person was found in the image: crop it to one person, standing and at least "
            "60 pixels tall, or give keypoints"
        )
    model = body if isinstance(body, BodyModel) else load_body(body)
    lifted = lift_image(pixels, pose, model, layout=layout)
    return lifted.canonical() if canonical else lifted.cloud


def embed(
    pointcloud: Any,
    model: str | Path | StoredModel = DEFAULT_MODEL,
    batch_size: int = 64,
    device: str | torch.device | None = None,
) -> Tensor:
    """Embed point clouds of people; similar people get similar unit vectors.

    Args:
        pointcloud: one cloud or many: ``PointCloud``; (N, 6) array or tensor (xyz in metres with y
            up, rgb in [0, 1]); Open3D, trimesh or torch-geometric cloud; path to ``.ply``,
            ``.npz`` or ``.obj`` as ``meshes.read_pointcloud`` takes them (where the frame of a
            file is doubtful, read it with ``frame=`` and give the cloud); a sequence of those;
            (B, N, 6); a torch-geometric ``Batch``. Coordinates and colours of any numeric type by
            the rules of ``PointCloud``. Background is left out, as long as enough of the body is
            seen. Points that are not ``visible`` lend their shape but no colour; where a type
            cannot say, exactly middle grey means hidden, and all points count as the body
            (give ``cloud.body()`` of a lifted cloud). A model of the reference layout takes all
            points in their order instead: those of ``lift(..., layout="reference")``, or ``.obj``.
        model: ``"default"``, a file or a folder written by ``og-reid train``, or what
            ``load_model`` gave.
        batch_size: clouds per forward pass; changes speed and memory only.
        device: where to compute; None stays where the model is (the CPU after loading).

    Returns:
        (D,) for one cloud, (B, D) for many, float32 on the CPU; unit norm, so that the dot product
        of two is their similarity. D = 512 for the default model.

    Warns:
        InputWarning: once for each kind of doubt: bodies not between 0.3 and 3 m long in any
            direction, files in an unknown frame, colours that are almost black for their type,
            float32 coordinates far from the origin.

    Raises:
        FileNotFoundError: a path leads nowhere.
        ValueError: a cloud is of an unknown type, empty, has too few points, NaN, colours
            outside [0, 1], or a body not between 0.03 and 10 long, which is not in metres; the
            message says which and what to do.
    """
    clouds, single = as_pointclouds(pointcloud)
    if not clouds:
        raise ValueError("pointcloud must hold at least one cloud; got an empty sequence")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    stored = model if isinstance(model, StoredModel) else load_model(model)
    # A copy: the default model is shared and stays where it is.
    network = stored.model if device is None else copy.deepcopy(stored.model).to(device)
    preprocessing = stored.preprocessing
    reference = preprocessing.layout == "reference"
    least = preprocessing.num_points if reference else preprocessing.min_points
    for position, cloud in enumerate(clouds):
        which = "pointcloud" if single else f"pointcloud[{position}]"
        if len(cloud) < least:
            raise ValueError(
                f"{which} must have at least {least} points for this model; got {len(cloud)}"
            )
    check_extents(clouds, single)
    clouds = [near_origin(cloud) for cloud in clouds]
    source: CloudSource = ReferenceClouds(clouds) if reference else _packed(clouds, preprocessing)
    features = embed_set(network, source, preprocessing.num_points, batch_size)
    return features[0] if single else features


def _packed(clouds: Sequence[PointCloud], preprocessing: Preprocessing) -> CloudSet:
    return CloudSet.from_clouds(
        ((cloud, 0, 0, str(position)) for position, cloud in enumerate(clouds)),
        min_points=preprocessing.min_points,
    )


@lru_cache(maxsize=1)
def _estimator() -> MediapipePose:
    return MediapipePose()
