"""Body models from SMPL files that the user brings.

The files have their own, non-commercial licence and are never shipped or needed here. ``.pkl``
files are opened by an unpickler that can only build arrays: a file with code in it is refused.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from .body import SMPL_JOINTS, BodyModel
from .landmarks import find_landmarks

__all__ = ["load_smpl_file"]

_FIELDS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_MAX_BETAS = 10  # some files carry hundreds of components; the first ten are the usual ones


def load_smpl_file(path: Path) -> BodyModel:
    """Load an SMPL ``.npz`` or ``.pkl`` file.

    Args:
        path: a file with the arrays v_template, shapedirs, J_regressor, weights, kintree_table, f
            and optionally posedirs, of 24 joints in SMPL order; any number of vertices.

    Returns:
        The model, with landmarks found by geometry, so that no topology is assumed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is neither, is damaged, holds code, or lacks an array.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; SMPL files are the user's to bring")
    if path.suffix == ".npz":
        arrays = _read_npz(path)
    elif path.suffix == ".pkl":
        arrays = _read_pickle(path)
    else:
        raise ValueError(f"{path}: a body file ends in .npz or .pkl")
    missing = [name for name in _FIELDS if name not in arrays and name != "posedirs"]
    if missing:
        raise ValueError(f"{path}: not an SMPL file; it lacks the arrays {missing}")
    try:
        return _build(arrays)
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{path}: {error}") from error


def _build(arrays: dict[str, np.ndarray]) -> BodyModel:
    def tensor(name: str) -> Tensor:
        return torch.from_numpy(np.array(arrays[name], dtype=np.float32))

    template, weights = tensor("v_template"), tensor("weights")
    parents = np.asarray(arrays["kintree_table"])[0].astype(np.int64)[1:]
    if weights.shape[1:] != (len(SMPL_JOINTS),):
        raise ValueError(
            f"weights must be (V, {len(SMPL_JOINTS)}), SMPL's joints; got {tuple(weights.shape)}"
        )
    return BodyModel(
        v_template=template,
        shapedirs=tensor("shapedirs")[..., :_MAX_BETAS],
        joint_regressor=tensor("J_regressor"),
        skin_weights=weights,
        faces=torch.from_numpy(np.array(arrays["f"]).astype(np.int64)),
        parents=(-1, *(int(parent) for parent in parents)),
        landmarks=find_landmarks(template, weights, SMPL_JOINTS),
        posedirs=tensor("posedirs") if "posedirs" in arrays else None,
    )


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in _FIELDS if name in archive.files}
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: not a plain npz file of arrays: {error}") from error
    except Exception as error:  # zipfile and zlib raise types of their own on damaged files
        raise ValueError(f"{path}: damaged npz file: {error}") from error


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as stream:
            content = _ArraysOnly(stream).load()
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(f"{path}: damaged pickle file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold a dict of arrays; got {type(content).__name__}")
    return {name: _as_array(content[name]) for name in _FIELDS if name in content}


def _as_array(value: Any) -> np.ndarray:
    if isinstance(value, _Chumpy):
        value = vars(value).get("x")
    if hasattr(value, "toarray"):
        value = value.toarray()
    array = np.asarray(value)
    if array.dtype == object:
        raise ValueError(f"must hold numbers; got an array of objects {array.shape}")
    return array


class _Chumpy:
    """Stands in for the autodiff arrays of the original files; only their numbers are read."""


class _ArraysOnly(pickle.Unpickler):
    """Builds numpy arrays, scipy sparse matrices and nothing else."""

    _NUMPY = frozenset({"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"})
    _SPARSE = frozenset({"csc_matrix", "csr_matrix", "coo_matrix", "csc_array", "csr_array"})
    _PLAIN = frozenset(
        {
            ("__builtin__", "object"),
            ("builtins", "object"),
            ("copy_reg", "_reconstructor"),
            ("copyreg", "_reconstructor"),
            ("_codecs", "encode"),
            ("collections", "OrderedDict"),
        }
    )

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, encoding="latin1")  # the original files come from Python 2

    def find_class(self, module: str, name: str) -> Any:
        """Look up only what arrays are made of."""
        package = module.partition(".")[0]
        numbers = package == "numpy" and name in self._NUMPY
        sparse = module.startswith("scipy.sparse") and name in self._SPARSE
        if numbers or sparse or (module, name) in self._PLAIN:
            return super().find_class(module, name)
        if package == "chumpy":
            return _Chumpy
        raise pickle.UnpicklingError(
            f"refused: the file wants to run {module}.{name}; a body file may hold arrays only"
        )
