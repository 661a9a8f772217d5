"""Body models from SMPL files of the user.

The files have their own, non-commercial licence and are never shipped or needed here. ``.pkl``
files are read by an interpreter that can only build arrays: a file with code in it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose.files.npz import read_npz_arrays
from pose.files.reading import reading

from .landmarks import find_landmarks
from .model import SMPL_JOINTS, BodyModel
from .smpl_arrays import node_array
from .smpl_pickle import read_nodes

__all__ = ["load_smpl_file"]

_FIELDS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_MAX_BETAS = 10  # some files carry hundreds of components; the first ten are the usual ones
_MOST_VERTICES = 1 << 18
_MOST_BYTES = 1 << 29  # the largest published files have half as many
_HEIGHTS = (0.3, 3.0)  # metres


def load_smpl_file(path: Path) -> BodyModel:
    """Load an SMPL ``.npz`` or ``.pkl`` file.

    Args:
        path: a file of at most 512 MiB with the arrays v_template, shapedirs, J_regressor, weights,
            kintree_table, f and optionally posedirs, of 24 joints in SMPL order; at most 2^18
            vertices.

    Returns:
        The model, with landmarks found by geometry, so that no topology is assumed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another type, is damaged or holds code; or an array is missing,
            of another shape, not finite, or not in metres.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; SMPL files are the user's to bring")
    if path.suffix.lower() not in (".npz", ".pkl"):
        raise ValueError(f"{path}: a body file ends in .npz or .pkl")
    packed = path.suffix.lower() == ".npz"
    kind = "npz file of plain arrays" if packed else "pickle file of arrays"
    with reading(path, f"must be a whole {kind}"):
        arrays = _read_npz(path) if packed else _read_pickle(path)
    with reading(path, "must hold an adult of SMPL's kind"):
        return _build(arrays)


def _build(arrays: dict[str, np.ndarray]) -> BodyModel:
    _check_shapes({name: array.shape for name, array in arrays.items()})
    template, weights = _floats("v_template", arrays), _floats("weights", arrays)
    height = float(template[:, 1].max() - template[:, 1].min())
    if not _HEIGHTS[0] <= height <= _HEIGHTS[1]:
        raise ValueError(
            f"must hold a body in metres, y up, {_HEIGHTS[0]} to {_HEIGHTS[1]} m tall; this one "
            f"measures {height:.4g} along y"
        )
    try:
        landmarks = find_landmarks(template, weights, SMPL_JOINTS)
    except (IndexError, RuntimeError) as error:
        raise ValueError(
            "must hold an adult in T-pose, y up and facing z: no nose, ears or feet were found on "
            "its v_template"
        ) from error
    return BodyModel(
        v_template=template,
        shapedirs=_floats("shapedirs", arrays)[..., :_MAX_BETAS],
        joint_regressor=_floats("J_regressor", arrays),
        skin_weights=weights,
        faces=torch.from_numpy(_integers("f", arrays["f"])),
        parents=(-1, *_integers("kintree_table", arrays["kintree_table"][0, 1:]).tolist()),
        landmarks=landmarks,
        posedirs=_floats("posedirs", arrays) if "posedirs" in arrays else None,
    )


def _check_shapes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuses arrays of contradictory shapes before they are converted."""
    missing = [name for name in _FIELDS if name not in shapes and name != "posedirs"]
    if missing:
        raise ValueError(f"must be an SMPL file, and lacks the arrays {missing}")
    joints = len(SMPL_JOINTS)
    template = shapes["v_template"]
    if len(template) != 2 or template[1] != 3 or not 1 <= template[0] <= _MOST_VERTICES:
        raise ValueError(
            f"must have a v_template (V, 3) of at most {_MOST_VERTICES} vertices; got {template}"
        )
    vertices = template[0]
    expected: dict[str, tuple[int | str, ...]] = {
        "weights": (vertices, joints),
        "shapedirs": (vertices, 3, "S"),
        "posedirs": (vertices, 3, 9 * (joints - 1)),
        "J_regressor": (joints, vertices),
        "kintree_table": (2, joints),
        "f": ("F", 3),
    }
    for name, wanted in expected.items():
        got = shapes.get(name)
        if got is None:
            continue
        fits = len(got) == len(wanted) and all(
            have == want if isinstance(want, int) else have > 0
            for have, want in zip(got, wanted, strict=True)
        )
        if not fits:
            shape = str(wanted).replace("'", "")
            raise ValueError(
                f"must have {name} of shape {shape}, for {vertices} vertices and SMPL's joints; "
                f"got {got}"
            )


def _floats(name: str, arrays: dict[str, np.ndarray]) -> Tensor:
    array = arrays[name]
    if name == "shapedirs":
        array = array[..., :_MAX_BETAS]
    with np.errstate(over="ignore"):
        numbers = np.array(array, dtype=np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError(f"must hold finite numbers; {name} has NaN, infinity or too large ones")
    return torch.from_numpy(numbers)


def _integers(name: str, array: np.ndarray) -> np.ndarray:
    """Integer indices; the root's parent is 2^32 - 1 in the published files."""
    whole = array.dtype.kind in "iu" or bool((np.isfinite(array) & (array == np.rint(array))).all())
    if not whole or bool((np.abs(array.astype(np.float64)) >= 2**31).any()):
        raise ValueError(f"must hold indices in {name}; got other numbers")
    return array.astype(np.int64)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    return read_npz_arrays(
        path,
        (),
        _FIELDS,
        content="integers or floats",
        most_bytes=_MOST_BYTES,
        check=_check_shapes,
    )


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise ValueError(f"must be at most {_MOST_BYTES >> 20} MiB large; got {size >> 20} MiB")
    content: Any = read_nodes(path.read_bytes())
    if not isinstance(content, dict):
        raise ValueError(f"must hold a dict of arrays; got {type(content).__name__}")
    arrays: dict[str, np.ndarray] = {}
    for name in _FIELDS:  # the vertices first: nothing else is made larger than they allow
        if name in content:
            dense = len(SMPL_JOINTS) * len(arrays.get("v_template", ()))
            try:
                arrays[name] = node_array(content[name], dense)
            except ValueError as error:
                raise ValueError(f"{error} (in its array {name})") from error
    return arrays
