"""Loading a body model: the embedded CC0 body, or an SMPL file of the user."""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch

from pose.runtime.defaults import MadeOnce, plain_torch

from .landmarks import find_landmarks
from .model import BodyModel

__all__ = ["load_body"]


@plain_torch()
def load_body(path: str | Path | None = None) -> BodyModel:
    """Load a body model.

    Args:
        path: None for the embedded CC0 body (6,879 vertices, 24 joints, 10 betas in standard
            deviations); else an SMPL file of the user (``.npz``, or ``.pkl`` opened by a reader
            that accepts arrays only). SMPL files have their own, non-commercial licence.

    Returns:
        The model, float32 on the CPU. The embedded one is cached and shared: it is immutable.
    """
    if path is None:
        return _embedded_body()
    from .smpl import load_smpl_file

    return load_smpl_file(Path(path))


@MadeOnce
def _embedded_body() -> BodyModel:
    resource = files("meshes").joinpath("data", "og_body_compact.npz")
    with as_file(resource) as path, np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    # The cached model outlives the modes of this call.
    with torch.inference_mode(False), torch.device("cpu"):
        return _from_compact(arrays)


def _from_compact(arrays: dict[str, np.ndarray]) -> BodyModel:
    """Undo the quantisation of the embedded file (fields: tools/build_body.py)."""
    template = arrays["v_template"].astype(np.float32) * np.float32(1e-5)
    vertices, joints = len(template), arrays["kintree"].shape[1]
    shapedirs = arrays["shape_q"].astype(np.float32) * np.float32(arrays["shape_scale"])
    weights = np.zeros((vertices, joints), np.float32)
    np.put_along_axis(weights, arrays["w_idx"].astype(np.int64), arrays["w_q"] / 65535.0, axis=1)
    weights /= weights.sum(axis=1, keepdims=True)
    regressor = np.zeros((joints, vertices), np.float32)
    regressor[arrays["jr"][:, 0], arrays["jr"][:, 1]] = arrays["jr_v"]
    names = tuple(json.loads(str(arrays["joint_names"])))
    return BodyModel(
        v_template=torch.from_numpy(template),
        shapedirs=torch.from_numpy(shapedirs),
        joint_regressor=torch.from_numpy(regressor),
        skin_weights=torch.from_numpy(weights),
        faces=torch.from_numpy(arrays["f"].astype(np.int64)),
        parents=(-1, *(int(parent) for parent in arrays["kintree"][0, 1:])),
        joint_names=names,
        landmarks=find_landmarks(torch.from_numpy(template), torch.from_numpy(weights), names),
    )
