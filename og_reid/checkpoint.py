"""Models and training states on disk.

A finished model is one safetensors file: weights, and as metadata what builds the network and what
it was trained to see. No file is ever unpickled, and a digest in each is compared when it is read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pose.defaults import plain_torch
from pose.reading import reading

from .embedding import PhotoPreprocessing, Preprocessing
from .models import PGFA, Embedder, StripeNet, rebuild, store
from .models.described import check_described
from .models.undrawn import Undrawn
from .provenance import checked_origin, mapping, origin, package_version
from .strict import build as build_settings
from .tensor_files import read_header, read_tensors, read_torch, write_tensors, write_torch

__all__ = [
    "StoredModel",
    "StoredPeopleModel",
    "keep_states",
    "misfit",
    "origin",
    "package_version",
    "read_model",
    "read_origin",
    "read_people_model",
    "read_state",
    "save_model",
    "save_people_model",
    "save_state",
    "save_weights",
    "takes_photographs",
]

_FORMAT, _PEOPLE_FORMAT = "og_reid.model", "og_reid.model of photographs"
_WEIGHTS_FORMAT = "og_reid.weights"
_KEYS = ("format", "version", "architecture", "preprocessing", "training", "origin")


@dataclass(frozen=True, eq=False)
class StoredModel:
    """A model read from a file, or a network of one's own with what it was trained to see.

    Attributes:
        model: In evaluation mode, on the CPU, without a classifier.
        preprocessing: What it was trained to see.
        training: The resolved settings of its training run; empty when there are none.
        version: Version of the package that wrote the file.
        origin: Of the training run, see `origin`, and ``people``, the identities that it learned
            from; empty when there is none.
    """

    model: Embedder
    preprocessing: Preprocessing
    training: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StoredPeopleModel:
    """A network of photographs read from a file; fields as of `StoredModel`."""

    model: PGFA | StripeNet
    preprocessing: PhotoPreprocessing
    training: Mapping[str, Any]
    version: str
    origin: Mapping[str, Any] = field(default_factory=dict)


def save_model(
    path: str | Path,
    model: Embedder,
    preprocessing: Preprocessing,
    training: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model as safetensors, whole or not at all, without classifier and losses.

    Args:
        path: File to write.
        model: One of `og_reid.models`, perhaps compiled, averaged or on several GPUs by torch.
        preprocessing: What it was trained to see.
        training: Settings of the training run to keep with it, as plain JSON values.
        origin: What else the file shall tell of that run, as of the function `origin`.

    Raises:
        ValueError: When a weight is NaN or infinite.
    """
    model = _unwrapped(model)
    weights = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith(("proj_output.", "criterion."))
    }
    _write(path, _FORMAT, weights, store(model), asdict(preprocessing), training, origin)


def _unwrapped(model: Any) -> Any:
    """The network in what torch.compile, AveragedModel and DataParallel make of it."""
    for name in ("_orig_mod", "module"):
        inner = None if isinstance(model, Embedder) else getattr(model, name, None)
        if isinstance(inner, nn.Module):
            return _unwrapped(inner)
    return model


def read_model(path: str | Path) -> StoredModel:
    """Reads what `save_model` wrote.

    Raises:
        ValueError: When the file is missing, damaged, a pickle, no model of this package, or when
            its weights are not those of the network it names (with the differing names).
    """
    return StoredModel(*_read(path, _FORMAT, rebuild, Preprocessing))


def save_people_model(
    path: str | Path,
    model: PGFA | StripeNet,
    preprocessing: PhotoPreprocessing,
    training: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Writes a network of photographs with its classifiers; otherwise like `save_model`."""
    settings = model.architecture()
    _write(
        path, _PEOPLE_FORMAT, model.state_dict(), settings, asdict(preprocessing), training, origin
    )


def read_people_model(path: str | Path) -> StoredPeopleModel:
    """Reads what `save_people_model` wrote; errors as of `read_model`."""
    return StoredPeopleModel(*_read(path, _PEOPLE_FORMAT, _of_photographs, PhotoPreprocessing))


def save_weights(
    path: str | Path, weights: Mapping[str, Tensor], origin: Mapping[str, Any] | None = None
) -> None:
    """Writes the weights of a network that no model file can describe, whole or not at all.

    ``network.load_state_dict(safetensors.torch.load_file(path))`` reads them back.

    Args:
        path: File to write, .safetensors.
        weights: By the names of the network; what shares memory is written for each name.
        origin: As for `save_model`.
    """
    kept = dict(origin or {})
    training = json.dumps(kept.pop("config", {}))
    metadata = {
        "format": _WEIGHTS_FORMAT,
        "version": package_version(),
        "training": training,
        "origin": json.dumps(kept),
    }
    plain = {name: each.detach().cpu().contiguous().clone() for name, each in weights.items()}
    write_tensors(path, plain, metadata)


def _of_photographs(stored: Mapping[str, Any]) -> PGFA | StripeNet:
    arguments = dict(stored)
    if arguments.pop("kind", "pgfa") == "stripes":
        return StripeNet(**arguments)
    return PGFA(**arguments)


def takes_photographs(path: str | Path) -> bool:
    """Whether a file holds a network of photographs, for `read_people_model`.

    Raises:
        ValueError: When the file is missing, damaged or a pickle.
    """
    _check_there(path)
    return read_header(path)[1].get("format") == _PEOPLE_FORMAT


def _write(
    path: str | Path,
    kind: str,
    weights: Mapping[str, Tensor],
    architecture: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    training: Mapping[str, Any] | None,
    origin: Mapping[str, Any] | None,
) -> None:
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ValueError(f"model has NaN or infinite weights: {', '.join(broken[:5])}")
    metadata = {
        "format": kind,
        "version": package_version(),
        "architecture": json.dumps(architecture),
        "preprocessing": json.dumps(preprocessing),
        "training": json.dumps(dict(training or {})),
        "origin": json.dumps({k: v for k, v in (origin or {}).items() if k != "config"}),
    }
    write_tensors(path, weights, metadata)


@plain_torch()
def _read(
    path: str | Path,
    kind: str,
    build: Callable[[Mapping[str, Any]], nn.Module],
    prepare: Callable[..., Any],
) -> tuple[Any, Any, Any, str, Any]:
    """What the fields of `StoredModel` are."""
    _check_there(path)
    shapes, metadata = read_header(path)
    found = metadata.get("format")
    if found != kind:
        what = {
            _FORMAT: "a model of clouds",
            _PEOPLE_FORMAT: "a model of photographs (PGFA)",
            _WEIGHTS_FORMAT: "the weights of a network of one's own, for its load_state_dict",
        }
        wanted = "save_model" if kind == _FORMAT else "save_people_model"
        raise ValueError(
            f"{path} is {what.get(str(found), f'no og_reid model (format {found!r})')}, and cannot "
            f"be used here: give a safetensors file written by {wanted}"
        )
    try:
        described = check_described(json.loads(metadata["architecture"]))
        seen = check_described(json.loads(metadata["preprocessing"]))
        preprocessing = build_settings(prepare, seen)
        training, told = _told(metadata)
        written_by = metadata["version"]
        # Without memory, as the file may lack what it describes; draws there load the compiler.
        with torch.device("meta"), Undrawn():
            skeleton = build(described).state_dict()
    except Exception as error:
        read_tensors(path, _KEYS)  # raises where the cause is that the file is damaged
        raise ValueError(
            f"{path} was written by version {str(metadata.get('version'))[:40]}, which this "
            f"version ({package_version()}) cannot read: {type(error).__name__}: {error}"
        ) from error
    differences = _misfit({name: tuple(each.shape) for name, each in skeleton.items()}, shapes)
    if differences:
        raise ValueError(f"{path}: weights do not fit the network it names: {differences}")
    weights, _ = read_tensors(path, _KEYS)
    with Undrawn():
        model = build(described)
    model.load_state_dict(weights)
    return model.eval(), preprocessing, training, written_by, told


def _check_there(path: str | Path) -> None:
    if not Path(path).is_file():
        raise ValueError(f"{path} is not a file: give a model written by save_model")


def _told(metadata: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the training run, and its `origin`, checked as far as they are used."""
    training = json.loads(metadata.get("training", "{}"))
    return mapping("training", training), checked_origin(json.loads(metadata.get("origin", "{}")))


def save_state(path: str | Path, state: Mapping[str, Any]) -> None:
    """Writes a training state (tensors and plain values), whole or not at all.

    Raises:
        OSError: When it cannot be written, as on a full disk; a file that was there before stays.
    """
    try:
        write_torch(path, state)
    except OSError as error:
        kept = "; the one from before is still there" if Path(path).exists() else ""
        raise OSError(
            error.errno,
            f"the checkpoint {path} could not be written{kept}: make room and go on from it "
            f"({error.strerror})",
            str(path),
        ) from error


@contextmanager
def keep_states(path: Path, count: int) -> Iterator[None]:
    """Keeps the states that are written to ``path`` in the block, and those of the blocks before.

    Args:
        path: As for `save_state`; what lay there becomes ``NAME-1``, what was ``NAME-1`` becomes
            ``NAME-2``, and so on.
        count: How many there may be, at least 1; older ones are removed.
    """
    older = [path, *(path.with_stem(f"{path.stem}-{age}") for age in range(1, count))]
    second = path.with_name(f".{path.name}.{os.getpid()}.older.partial")
    if count > 1 and path.exists():  # a second name, so that there is a first one all the time
        try:
            second.hardlink_to(path)
        except OSError:
            _copy(path, second)
    try:
        yield
        if second.exists():
            for target, source in zip(older[:1:-1], older[-2:0:-1], strict=True):
                if source.exists():
                    source.replace(target)
            second.replace(older[1])
    finally:
        second.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """A copy, or an error that names the file that it would have been."""
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise OSError(
            error.errno, f"{error.strerror}, while {source.name} is kept", str(target)
        ) from error


@plain_torch()
def read_state(path: str | Path) -> dict[str, Any]:
    """Reads what `save_state` wrote, without running any code that the file may hold.

    Raises:
        ValueError: When the file is missing, damaged or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is not a file: there is no training state to go on from")
    try:
        state = read_torch(path)
    except ValueError as error:
        older = path.with_stem(f"{path.stem}-1")
        what = "delete it and start anew"
        if older.is_file():
            what = f"put the one before, {older.name}, in its place"
        cause = str(error).removeprefix(f"{path} ").removeprefix("is damaged").lstrip(": ,")
        raise ValueError(
            f"{path} is damaged or no training state of this package: {what} ({cause})"
        ) from error
    if not isinstance(state, dict) or not isinstance(state.get("origin"), dict):
        raise ValueError(f"{path} is no training state of this package, or of another version")
    return state


def read_origin(path: str | Path) -> dict[str, Any]:
    """What a model (.safetensors) or training state tells of its run, see `origin`.

    Raises:
        ValueError: As of `read_model` or `read_state`.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        state = read_state(path)
        with reading(path, "must be a training state of this package"):
            return checked_origin(state["origin"])
    _check_there(path)
    _, metadata = read_header(path)
    if not metadata.get("format", "").startswith("og_reid."):
        raise ValueError(f"{path} is no file of this package: it tells nothing of a run")
    with reading(path, "must be a model of this package; its header is damaged"):
        training, told = _told(metadata)
        return {"config": training, **told}


def misfit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """How weights do not fit a network, naming the first few that differ; empty where they do."""
    shapes = (
        {name: tuple(value.shape) for name, value in each.items()} for each in (wanted, found)
    )
    return _misfit(*shapes)


def _misfit(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> str:
    problems = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} {found[name]} instead of {wanted[name]}"
            for name in wanted
            if name in found and found[name] != wanted[name]
        ],
    }
    texts = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for kind, names in problems.items()
        if names
    ]
    return "; ".join(texts)
