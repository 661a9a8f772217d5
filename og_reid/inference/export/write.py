"""Export of a model to a file that runs without this package, and its check on the probe set."""

from __future__ import annotations

import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from pose.files.atomic_write import atomic_write
from pose.runtime.defaults import plain_torch

from ...files.onnx_model import FORMAT, KEY, sealed
from ...files.packed_weights import Weights
from ...files.version import package_version
from ..encoder import Encoder
from ..model_file import FileContent
from ..onnx_encoder import encoder_of_onnx
from ..pretrained import as_encoder
from .forms import Form, form_of
from .graph import traced
from .probe import Check, check_against, probe_items
from .weights import check_weights, with_stored_weights

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["ENDINGS", "ExportReport", "export"]

#: Endings of exported files: ONNX, and a program of `torch.export`.
ENDINGS = (".onnx", ".pt2")
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
#: Largest feature difference of full weights; least cosine of others.
_MOST_DIFFERENCE = 1e-4
_LEAST_COSINE = {"half": 0.9999, "int8": 0.99}


@dataclass(frozen=True)
class ExportReport:
    """Result of `export`.

    Attributes:
        path: File that was written.
        size: Its size, bytes.
        weights: Storage of the weights.
        check: Differences from the network in torch, with its full weights.
    """

    path: Path
    size: int
    weights: Weights
    check: Check

    def __str__(self) -> str:
        """Two lines for people."""
        return (
            f"{self.path}: {self.size / 1e6:.2f} MB, {self.weights} weights\n"
            f"check on {self.check.probes} probes: {self.check}"
        )


@plain_torch()
def export(
    model: str | Path | Encoder, path: str | Path, *, weights: Weights = "full"
) -> ExportReport:
    """Writes a model as one file that runs without this package, and checks it.

    The graph holds standard operations alone, k-nearest neighbours and farthest point sampling
    among them, for any batch size. Model and file then embed a probe set of the synthetic world;
    a file that differs is not kept.

    Args:
        model: Loaded model, or an argument of ``load_model``: of point clouds, of dense local
            features, or of stripes (PGFA).
        path: File to write: ``.onnx``, for onnxruntime (`og_reid.load_model` and
            `og_reid.OnnxModel` read it), or ``.pt2``, for ``torch.export.load``, with the
            description in its extra file ``og_reid.json``.
        weights: ``full``; or ``half`` (16 bits) or ``int8`` (8 bits, with a scale for each row) for
            the matrices and kernels. All computation is in single precision.

    Returns:
        Size, and the differences found by the check.

    Raises:
        ImportError: A package of the extra ``export`` is missing (``.onnx``).
        ValueError: Unknown ending or storage, a model of another kind, or one whose file gives
            other features: then no file is written.
    """
    target = Path(path)
    check_weights(weights)
    if target.suffix not in ENDINGS:
        raise ValueError(f"path must end with {' or '.join(ENDINGS)}; got {str(path)!r}")
    if target.suffix == ".onnx":
        _check_packages()
    encoder = as_encoder(model)
    form = form_of(encoder)
    items = probe_items(encoder)
    inputs = form.batch(items, torch.arange(2))
    program = traced(with_stored_weights(form.network, weights), inputs)
    as_onnx = target.suffix == ".onnx"
    put = _onnx_writer(program, form) if as_onnx else _program_writer(program, inputs)
    opened = _opened_onnx if as_onnx else _opened_program
    with atomic_write(target) as partial:
        put(partial, _description(encoder, form, weights))
        exported = opened(partial, encoder, form)
        found = check_against(encoder, exported, items)
        _refuse_difference(found, weights)
        put(partial, _description(encoder, form, weights, found))
    return ExportReport(target, target.stat().st_size, weights, found)


def _check_packages() -> None:
    for name in _PACKAGES:
        try:
            __import__(name)
        except ImportError as error:
            raise ImportError(
                f"{name} is needed to export to ONNX; install it with: "
                "pip install 'og-reid[export]'"
            ) from error


def _refuse_difference(found: Check, weights: Weights) -> None:
    if weights == "full":
        wrong = not found.difference <= _MOST_DIFFERENCE  # NaN, too
    else:
        wrong = not found.cosine >= _LEAST_COSINE[weights]
    if wrong:
        raise ValueError(
            f"model gives other features when exported: {found}; no file is kept"
            + ("" if weights == "full" else ": give weights='full'")
        )


def _description(
    encoder: Encoder, form: Form, weights: Weights, check: Check | None = None
) -> dict[str, Any]:
    content: FileContent = cast(Any, encoder).content()  # of all kinds with a form
    return {
        "format": FORMAT,
        "kind": content.format,
        "version": package_version(),
        "weights": weights,
        "architecture": dict(content.architecture),
        "preprocessing": dict(content.preprocessing),
        "inputs": dict(form.inputs),
        "outputs": dict(form.outputs),
        "check": {} if check is None else asdict(check),
        "training": dict(content.training),
        "origin": {k: v for k, v in content.provenance.items() if k != "config"},
    }


_Put = Callable[[Path, Mapping[str, Any]], None]


def _program_writer(program: ExportedProgram, inputs: Mapping[str, Tensor]) -> _Put:
    """Function that writes a program with a description."""
    program.example_inputs = ((), {name: each.clone() for name, each in inputs.items()})

    def put(path: Path, described: Mapping[str, Any]) -> None:
        text = json.dumps(described, ensure_ascii=False, indent=1)
        buffer = io.BytesIO()  # the ending of a partial file would be refused
        torch.export.save(program, buffer, extra_files={"og_reid.json": text})
        path.write_bytes(buffer.getvalue())

    return put


def _onnx_writer(program: ExportedProgram, form: Form) -> _Put:
    """Function that writes an ONNX file with a description."""
    model = _onnx_model(program, list(form.outputs))
    model.producer_name, model.producer_version = "og_reid", package_version()

    def put(path: Path, described: Mapping[str, Any]) -> None:
        model.ClearField("metadata_props")
        for name, value in {**described, "sha256": "0" * 64}.items():
            entry = model.metadata_props.add()
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            entry.key, entry.value = f"{KEY}{name}", text
        path.write_bytes(sealed(model.SerializeToString(deterministic=True)))

    return put


def _onnx_model(program: ExportedProgram, outputs: list[str]) -> Any:
    """ONNX protocol buffer of a program, without the metadata of its making."""
    with _quiet():
        made = torch.onnx.export(
            program, dynamo=True, optimize=True, verbose=False, output_names=outputs
        )
    assert made is not None
    model = made.model_proto
    model.ClearField("doc_string")
    model.ClearField("metadata_props")
    for graph in (model.graph, *model.functions):
        _forget_origin(graph)
    return model


def _forget_origin(graph: Any) -> None:
    """Clears the places in source files of this machine, in a graph and in those inside."""
    kept = [graph, *graph.node, *graph.value_info]
    for name in ("input", "output", "initializer"):
        kept += [each for each in getattr(graph, name) if not isinstance(each, str)]
    for part in kept:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _forget_origin(attribute.g)
            for inner in attribute.graphs:
                _forget_origin(inner)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress of the converter, and its warnings about itself."""
    logger = logging.getLogger("onnxscript")
    level = logger.level
    with warnings.catch_warnings(), open(os.devnull, "w", encoding="utf-8") as nowhere:
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            with redirect_stdout(nowhere), redirect_stderr(nowhere):
                yield
        finally:
            logger.setLevel(level)


def _opened_onnx(path: Path, encoder: Encoder, form: Form) -> Encoder:
    return encoder_of_onnx(path)


def _opened_program(path: Path, encoder: Encoder, form: Form) -> Encoder:
    """The encoder with the program of a file in place of its network."""
    with open(path, "rb") as file:
        run: Callable[..., Any] = torch.export.load(io.BytesIO(file.read())).module()
    names = list(form.outputs)

    @torch.no_grad()
    def outputs(**inputs: Tensor) -> Mapping[str, Tensor]:
        plain = {name: each.contiguous() for name, each in inputs.items()}
        return dict(zip(names, run(**plain), strict=True))

    described = cast(Any, encoder).content().architecture
    made: Encoder = replace(cast(Any, encoder), model=form.adapter(outputs, described))
    return made
