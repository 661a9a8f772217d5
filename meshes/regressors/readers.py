"""Files of other regressors, as npz archives of plain arrays; nothing of theirs is imported or run.

Frames of the files are those of their authors: x right, y down, z away from the camera.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pose.files.npz import read_npz_arrays
from pose.files.reading import reading
from pose.runtime.defaults import plain_torch

from ..body.load import load_body
from ..body.model import SMPL_JOINTS, BodyModel
from ..fitting.camera import PinholeCamera
from ..rotation import axis_angle_to_matrix
from .regressed import RegressedBodies

__all__ = ["MHR_POINTS", "read_sam3d_body", "read_smpl_bodies", "sam3d_bodies", "smpl_bodies"]

_MOST_BYTES = 1 << 32
_FLIP = (1.0, -1.0, -1.0)
_NAMES = ("names", "imgname")
_SMPL_ARRAYS = (
    "global_orient", "body_pose", "betas", "theta", "pred_cam", "cam_t", "focal_length",
    "box_center", "box_size", "joints", "vertices",
)  # fmt: skip
_SAM3D_ARRAYS = ("pred_vertices", "pred_cam_t", "focal_length")
_ORTHOGONAL = 1e-3  # largest entry of R^T R - 1: rotations are stored in half precision at times

#: Keypoints of MHR that this package's skeleton has, by their index among the 70.
MHR_POINTS: Mapping[int, str] = {
    0: "nose", 1: "left_eye", 2: "right_eye", 3: "left_ear", 4: "right_ear",
    5: "left_shoulder", 6: "right_shoulder", 7: "left_elbow", 8: "right_elbow",
    9: "left_hip", 10: "right_hip", 11: "left_knee", 12: "right_knee",
    13: "left_ankle", 14: "right_ankle", 15: "left_toe", 17: "left_heel",
    18: "right_toe", 20: "right_heel", 32: "right_hand", 41: "right_wrist",
    53: "left_hand", 62: "left_wrist", 69: "neck",
}  # fmt: skip
_MHR_COUNT = 70


def read_smpl_bodies(
    path: str | Path, image_size: tuple[int, int], source: BodyModel | str | Path | None = None
) -> RegressedBodies:
    """Reads SMPL parameters of B people, such as those of HMR and HMR 2.0 (4D-Humans).

    Args:
        path: npz file with the arrays of `smpl_bodies`, and optionally ``names`` or ``imgname``.
        image_size: (height, width) of the images.
        source: SMPL model that the parameters belong to, or its file; see `smpl_bodies`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is a pickle, damaged, or lacks an array; an array is of another shape
            or not finite.
    """
    arrays, names = _read(Path(path), (), _SMPL_ARRAYS)
    with reading(path, "must hold SMPL parameters"):
        return smpl_bodies(arrays, image_size, source, names=names)


def read_sam3d_body(path: str | Path) -> RegressedBodies:
    """Reads bodies of SAM 3D Body, whose model is MHR.

    Args:
        path: npz file with the arrays of `sam3d_bodies`, and optionally ``names`` or ``imgname``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is a pickle, damaged, or lacks an array; an array is of another shape
            or not finite.
    """
    needed = ("pred_keypoints_3d", "pred_keypoints_2d")
    arrays, names = _read(Path(path), needed, _SAM3D_ARRAYS)
    with reading(path, "must hold bodies of SAM 3D Body"):
        return sam3d_bodies(arrays, names=names)


@plain_torch()
def smpl_bodies(
    arrays: Mapping[str, np.ndarray | Tensor],
    image_size: tuple[int, int],
    source: BodyModel | str | Path | None = None,
    *,
    names: Sequence[str] | None = None,
) -> RegressedBodies:
    """Bodies of SMPL parameters.

    Args:
        arrays: By name, with or without the axis B:
            ``global_orient`` (B, 3) or (B, 3, 3) and ``body_pose`` (B, 69), (B, 23, 3) or
            (B, 23, 3, 3), rotation vectors or matrices, as HMR 2.0 names them; or ``theta``
            (B, 85) of HMR: camera, 24 rotation vectors, 10 betas.
            ``pred_cam`` (B, 3): scale and shift of weak perspective in the square crop around
            ``box_center`` (B, 2) with the side ``box_size`` (B,), pixels; without a box in the
            square around the image. Or ``cam_t`` (B, 3) metres with ``focal_length`` (pixels of
            the image, whose middle is the principal point).
            ``joints`` (B, 24 or more, 3), SMPL's 24 first, and ``vertices`` (B, V, 3): metres,
            for the shape.
            ``betas`` (B, S) are used with ``source`` alone: they mean nothing to other bodies.
        image_size: (height, width) of the images.
        source: SMPL model that the parameters belong to, or its file: gives joints and vertices.
        names: B names of images.

    Raises:
        ValueError: An array is missing, of another shape, or not finite; matrices are no rotations.
    """
    given = {name: _tensor(name, value) for name, value in arrays.items()}
    if "theta" in given:
        theta = given.pop("theta").reshape(-1, 85) if given["theta"].shape[-1:] == (85,) else None
        if theta is None:
            raise ValueError(f"theta must be (B, 85); got {tuple(arrays['theta'].shape)}")
        given["pred_cam"] = given.get("pred_cam", theta[:, :3])
        given["global_orient"], given["body_pose"] = theta[:, 3:6], theta[:, 6:75]
        given["betas"] = theta[:, 75:]
    rotations = _rotations(given)
    count = len(rotations)
    flip = torch.tensor(_FLIP)
    joints, vertices = given.get("joints"), given.get("vertices")
    complete = joints is not None
    if source is not None:
        model = source if isinstance(source, BodyModel) else load_body(source)
        if "betas" not in given:
            raise ValueError("betas must be given with source; they are missing")
        posed = model.pose(rotations, given["betas"].reshape(count, -1)[:, : model.num_betas])
        joints, vertices, complete = posed.joints, posed.vertices, True
    elif joints is None:
        if vertices is not None:
            raise ValueError("joints must be given with vertices: (B, 24 or more, 3), SMPL's first")
        mean = load_body()
        joints = mean.pose(rotations, torch.zeros(count, mean.num_betas)).joints
    joints = _batched("joints", joints, (count, None, 3))
    if joints.shape[1] < len(SMPL_JOINTS):
        raise ValueError(f"joints must be (B, 24 or more, 3); got {tuple(joints.shape)}")
    joints = joints[:, : len(SMPL_JOINTS)]
    pixels, camera = _projected(joints, given, image_size, count)
    turned = rotations.clone()
    turned[:, 0] = torch.diag(flip) @ rotations[:, 0]
    return RegressedBodies(
        names=_checked_names(names, count),
        point_names=SMPL_JOINTS,
        points=joints * flip,
        pixels=pixels,
        rotations=turned,
        vertices=None
        if vertices is None
        else _batched("vertices", vertices, (count, None, 3)) * flip,
        camera=camera,
        complete=complete,
    )


@plain_torch()
def sam3d_bodies(
    arrays: Mapping[str, np.ndarray | Tensor], *, names: Sequence[str] | None = None
) -> RegressedBodies:
    """Bodies of SAM 3D Body.

    Args:
        arrays: By name, with or without the axis B: ``pred_keypoints_3d`` (B, 70, 3) metres,
            ``pred_keypoints_2d`` (B, 70, 2) pixels of the image, and optionally ``pred_vertices``
            (B, V, 3), 18,439 of MHR, which give shape and the turn of limbs.
        names: B names of images.

    Raises:
        ValueError: An array is missing, of another shape, or not finite.
    """
    given = {name: _tensor(name, value) for name, value in arrays.items()}
    missing = [name for name in ("pred_keypoints_3d", "pred_keypoints_2d") if name not in given]
    if missing:
        raise ValueError(f"arrays must hold {' and '.join(missing)}; got {sorted(given)}")
    points = _batched("pred_keypoints_3d", given["pred_keypoints_3d"], (None, _MHR_COUNT, 3))
    count = len(points)
    pixels = _batched("pred_keypoints_2d", given["pred_keypoints_2d"], (count, _MHR_COUNT, 2))
    vertices = given.get("pred_vertices")
    flip, index = torch.tensor(_FLIP), list(MHR_POINTS)
    camera = None
    if "pred_cam_t" in given and "focal_length" in given:
        place = _batched("pred_cam_t", given["pred_cam_t"], (count, 3)) * flip
        focal = given["focal_length"].reshape(-1).expand(count)
        camera = PinholeCamera(focal, torch.zeros(count, 2), place)
        # The principal point is where the projections lie besides.
        middle = (pixels - camera.project(points * flip)[..., :2])[:, index].mean(1)
        camera = PinholeCamera(focal, middle, place)
    return RegressedBodies(
        names=_checked_names(names, count),
        point_names=tuple(MHR_POINTS.values()),
        points=points[:, index] * flip,
        pixels=pixels[:, index],
        vertices=None
        if vertices is None
        else _batched("pred_vertices", vertices, (count, None, 3)) * flip,
        camera=camera,
    )


def _read(
    path: Path, needed: Sequence[str], optional: Sequence[str]
) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix.lower() != ".npz":
        raise ValueError(
            f"{path}: bodies of regressors are read from npz files of plain arrays, as a pickle "
            "may run code: write one with numpy.savez(path, **arrays)"
        )
    with reading(path, "must be a whole npz file of plain arrays"):
        arrays = read_npz_arrays(
            path, needed, (*optional, *_NAMES), content="numbers or text", most_bytes=_MOST_BYTES
        )
        text = [name for name in arrays if name not in _NAMES and arrays[name].dtype.kind in "US"]
        if text:
            raise ValueError(f"must hold numbers; {text[0]} holds text")
        found = [arrays.pop(name) for name in _NAMES if name in arrays]
    names = None if not found else tuple(str(each) for each in found[0].reshape(-1))
    return arrays, names


def _checked_names(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if names is None:
        return ("",) * count
    if len(names) != count:
        raise ValueError(f"names must be {count}, one for each body; got {len(names)}")
    return tuple(names)


def _tensor(name: str, value: np.ndarray | Tensor) -> Tensor:
    tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value, np.float32))
    tensor = tensor.detach().float().cpu()
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    return tensor


def _batched(name: str, value: Tensor, shape: tuple[int | None, ...]) -> Tensor:
    """Array with its batch axis; None in a shape for any size."""
    whole = value[None] if value.ndim == len(shape) - 1 else value
    fits = whole.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(whole.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("*" if side is None else str(side) for side in shape)
        raise ValueError(f"{name} must be ({wanted}); got {tuple(value.shape)}")
    return whole


def _rotations(given: Mapping[str, Tensor]) -> Tensor:
    """(B, 24, 3, 3) rotations of SMPL's joints."""
    for name in ("global_orient", "body_pose"):
        if name not in given:
            raise ValueError(f"arrays must hold {name}, or theta; got {sorted(given)}")
    root = _matrices("global_orient", given["global_orient"], 1)
    others = _matrices("body_pose", given["body_pose"], len(SMPL_JOINTS) - 1)
    if len(root) != len(others):
        raise ValueError(
            f"global_orient and body_pose must be of equally many bodies; got {len(root)} and "
            f"{len(others)}"
        )
    return torch.cat([root, others], 1)


def _matrices(name: str, value: Tensor, count: int) -> Tensor:
    """(B, count, 3, 3) of rotation vectors or matrices in any of the usual shapes."""
    if value.shape[-2:] == (3, 3) and value.numel() % (9 * count) == 0 and _are_rotations(value):
        return value.reshape(-1, count, 3, 3)
    if value.shape[-2:] == (3, 3) and value.ndim > 2:
        raise ValueError(f"{name} must hold rotation matrices; some are not orthogonal")
    if value.ndim and value.shape[-1] in (3, 3 * count) and value.numel() % (3 * count) == 0:
        return axis_angle_to_matrix(value.reshape(-1, count, 3))
    raise ValueError(
        f"{name} must be (B, {3 * count}), (B, {count}, 3) rotation vectors or (B, {count}, 3, 3) "
        f"matrices; got {tuple(value.shape)}"
    )


def _are_rotations(value: Tensor) -> bool:
    eye = torch.eye(3)
    off = (value.transpose(-1, -2) @ value - eye).abs().amax() if value.numel() else 0.0
    return bool(off < _ORTHOGONAL) and bool((torch.det(value) > 0).all())


def _projected(
    joints: Tensor, given: Mapping[str, Tensor], image_size: tuple[int, int], count: int
) -> tuple[Tensor, PinholeCamera | None]:
    """(B, J, 2) pixels of joints in the regressor's frame, and a pinhole camera if given."""
    height, width = image_size
    middle = torch.tensor([width / 2, height / 2])
    if "cam_t" in given and "focal_length" in given:
        place = _batched("cam_t", given["cam_t"], (count, 3)) * torch.tensor(_FLIP)
        focal = given["focal_length"].reshape(-1).expand(count)
        pinhole = PinholeCamera(focal, middle.expand(count, 2), place)
        return pinhole.project(joints * torch.tensor(_FLIP))[..., :2], pinhole
    if "pred_cam" not in given:
        raise ValueError(
            f"arrays must hold a camera: pred_cam, or cam_t with focal_length; got {sorted(given)}"
        )
    camera = _batched("pred_cam", given["pred_cam"], (count, 3))
    if bool((camera[:, 0] <= 0).any()):
        raise ValueError("pred_cam must have scales above 0")
    center = given["box_center"].reshape(-1, 2) if "box_center" in given else middle[None]
    if ("box_center" in given) != ("box_size" in given):
        raise ValueError("box_center and box_size must be given together")
    side = given["box_size"].reshape(-1) if "box_size" in given else torch.tensor([max(image_size)])
    unit = camera[:, None, :1] * (joints[..., :2] + camera[:, None, 1:])
    return center[:, None] + unit * side[:, None, None] / 2, None
