"""Exported models: ONNX files of ``og-reid export``, run by onnxruntime without torch.

The file holds what its numbers mean: inputs with shapes and units, preprocessing, outputs, the
version that wrote it, the result of its check, and a digest of all bytes. ``numpy`` and
``onnxruntime`` are all that is needed to run it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FORMAT", "KEY", "OnnxModel", "open_model", "sealed"]

#: Value of the metadata entry ``og_reid.format``.
FORMAT = "og_reid.exported.1"
#: Beginning of the names of all metadata entries.
KEY = "og_reid."
_DIGEST = b"og_reid.sha256"
#: Between name and value of a metadata entry: tag and length of a string of 64 bytes.
_BETWEEN = b"\x12\x40"
_EMPTY = b"0" * 64
_INSTALL = "install it with: pip install 'og-reid[export]', or pip install onnxruntime"
_FIELDS = ("architecture", "preprocessing", "inputs", "outputs", "check", "training", "origin")
_TYPES = {"tensor(float)": "float32"}


class OnnxModel:
    """Exported model on the CPU; takes and gives numpy arrays.

    Attributes:
        kind: Kind of the model, as in its safetensors file.
        version: Version of the package that wrote the file.
        weights: ``full``, ``half`` or ``int8``: storage of the weights.
        preprocessing: Preprocessing that belongs to the weights, as plain values.
        inputs: By name: shape (``B`` is any batch size) and meaning.
        outputs: By name: meaning.
        check: Largest differences from the network in torch that were found at the export.
    """

    def __init__(self, path: str | Path, *, threads: int = 0) -> None:
        """Opens a file, verifying its digest and description.

        Args:
            path: File of ``og-reid export`` or `og_reid.export`.
            threads: Threads of onnxruntime; 0: its default.

        Raises:
            ImportError: onnxruntime is missing.
            ValueError: The file is missing, damaged, or not an exported model of this package.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise ValueError(f"{path} is not a file: give a model written by og-reid export")
        content = self.path.read_bytes()
        _check_digest(content, self.path)
        self._session = _session(content, self.path, threads)
        stored = dict(self._session.get_modelmeta().custom_metadata_map)
        if stored.get(f"{KEY}format") != FORMAT:
            raise ValueError(
                f"{path} is no model of og-reid export of this version (format "
                f"{str(stored.get(f'{KEY}format'))[:40]!r}): export the model again"
            )
        try:
            self.kind, self.version = stored[f"{KEY}kind"], stored[f"{KEY}version"]
            self.weights = stored[f"{KEY}weights"]
            fields = {name: json.loads(stored[KEY + name]) for name in _FIELDS}
            if not all(isinstance(each, dict) for each in fields.values()):
                raise ValueError("a description is not a mapping")
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{path} lacks the description of its model ({type(error).__name__}: {error}): "
                "export the model again"
            ) from error
        self.architecture: Mapping[str, Any] = fields["architecture"]
        self.preprocessing: Mapping[str, Any] = fields["preprocessing"]
        self.inputs: Mapping[str, Any] = fields["inputs"]
        self.outputs: Mapping[str, Any] = fields["outputs"]
        self.check: Mapping[str, Any] = fields["check"]
        self.training: Mapping[str, Any] = fields["training"]
        self.origin: Mapping[str, Any] = fields["origin"]
        self._expected = {
            each.name: (tuple(each.shape), _TYPES.get(each.type, each.type))
            for each in self._session.get_inputs()
        }
        named = [each.name for each in self._session.get_outputs()]
        if self._expected.keys() != self.inputs.keys() or named != list(self.outputs):
            raise ValueError(
                f"{path} does not fit its description: it has the inputs "
                f"{', '.join(self._expected)} and the outputs {', '.join(named)}; export the model "
                "again"
            )

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of a batch.

        Args:
            **arrays: The inputs by name, as `inputs` describes them; any numeric type.

        Returns:
            Outputs by name, float32, their first axis the batch.

        Raises:
            ValueError: An input is missing, unknown, of another shape, or not finite; or batch
                sizes differ.
        """
        import numpy as np

        if arrays.keys() != self._expected.keys():
            raise ValueError(
                f"inputs must be {', '.join(self._expected)}; got {', '.join(arrays) or 'none'}"
            )
        given, batch = {}, None
        for name, (shape, kind) in self._expected.items():
            try:
                array = np.ascontiguousarray(arrays[name], dtype=kind)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name} must be an array of numbers; {error}") from error
            wanted = ("B", *shape[1:])
            if array.ndim != len(shape) or array.shape[1:] != shape[1:] or not len(array):
                text = ", ".join(map(str, wanted))
                raise ValueError(f"{name} must be ({text}) with B >= 1; got {array.shape}")
            if batch not in (None, len(array)):
                raise ValueError(
                    f"inputs must be of one batch size; {name} has {len(array)} after {batch}"
                )
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite; got NaN or infinity")
            given[name], batch = array, len(array)
        return dict(zip(self.outputs, self._session.run(None, given), strict=True))


def open_model(path: str | Path) -> OnnxModel:
    """`og_reid.load_model` where torch is missing: an exported model, which takes numpy arrays.

    Args:
        path: ``.onnx`` file of ``og-reid export``.

    Raises:
        ImportError: The model is of another format, which torch runs; or onnxruntime is missing.
        ValueError: See `OnnxModel`.
    """
    if Path(path).suffix != ".onnx":
        raise ImportError(
            f"torch is needed for {str(path)!r}; install it with: pip install torch, or give an "
            ".onnx file of og-reid export"
        )
    return OnnxModel(path)


def sealed(content: bytes) -> bytes:
    """The bytes of a file, with the digest of all others in the entry ``og_reid.sha256``.

    Args:
        content: ONNX file with one such entry of 64 zeros.

    Raises:
        ValueError: There is no such entry, or several.
    """
    place = _digest_place(content)
    if place is None:
        raise ValueError("content must have one entry for its digest; got none or several")
    digest = hashlib.sha256(content).hexdigest().encode()
    return content[:place] + digest + content[place + 64 :]


def _digest_place(content: bytes) -> int | None:
    marker = _DIGEST + _BETWEEN
    if content.count(marker) != 1:
        return None
    return content.index(marker) + len(marker)


def _check_digest(content: bytes, path: Path) -> None:
    place = _digest_place(content)
    if place is None:
        raise ValueError(
            f"{path} is damaged, or no model of og-reid export: it has no digest; export it again"
        )
    plain = content[:place] + _EMPTY + content[place + 64 :]
    if hashlib.sha256(plain).hexdigest().encode() != content[place : place + 64]:
        raise ValueError(
            f"{path} is damaged: its content is not the one that was written (the digest in it "
            "differs); export it again"
        )


def _session(content: bytes, path: Path, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"onnxruntime is needed to run {path}; {_INSTALL}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors; it warns of initial values that it leaves out
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class of their own
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{path} cannot be opened by onnxruntime: {reason[:200]}") from error
