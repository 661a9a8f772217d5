"""Networks of mmpose from a configuration and a checkpoint; no code in a file is run."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..keypoints import COCO_17
from ..layouts import HALPE_26, WHOLEBODY_23
from .mmpose_import import import_mmpose

__all__ = ["Network", "load_network"]

_NAMES = {
    "left_big_toe": "left_toe",
    "right_big_toe": "right_toe",
    "head": "head_top",
    "hip": "mid_hip",
}
#: As mmpose publishes files: the beginning of its SHA-256 and a date end the name.
_PUBLISHED = re.compile(r"-([0-9a-f]{8})_\d{8}\.pth")


@dataclass(frozen=True, eq=False)
class Network:
    """Top-down pose network: joints of the person in a box.

    Attributes:
        module: in evaluation mode, on the device.
        pipeline: preprocessing, from an image and a box to the input of the network.
        meta: data set metadata, passed to `pipeline` beside each image.
        names: names of the first keypoints; further ones (face, hands) are left out.
        settings: plain values: versions, and SHA-256 of configuration and weights.
    """

    module: nn.Module
    pipeline: Any
    meta: Mapping[str, Any]
    names: tuple[str, ...]
    settings: Mapping[str, str]


def load_network(config: str | Path, checkpoint: str | Path | None, device: str) -> Network:
    """Build a network and load its weights.

    Args:
        config: a configuration file of mmpose, or the name of one that comes with mmpose, such as
            ``rtmpose-s_8xb256-420e_coco-256x192``. Python files among them are run: give none that
            you do not trust.
        checkpoint: its weights; None downloads the published ones of a name.
        device: torch device.

    Raises:
        ImportError: mmpose is missing.
        ValueError: configuration or weights are missing, not downloadable, damaged or do not fit.
    """
    apis = import_mmpose()
    path, url = _find(apis, config)
    if checkpoint is None:
        checkpoint = _download(url, config)
    state = _read_state(Path(checkpoint))
    from mmengine.config import Config
    from mmengine.dataset import Compose

    try:
        loaded = Config.fromfile(path)
        if "pose" not in str(loaded.model.type).lower():
            raise ValueError(f"its model is a {loaded.model.type}")
        digest = hashlib.sha256(loaded.dump().encode()).hexdigest()
        with _quiet():
            module: nn.Module = apis.init_model(loaded, None, device)
            pipeline = Compose(loaded.test_dataloader.dataset.pipeline)
    except (KeyError, AttributeError, TypeError, ValueError, ImportError, SyntaxError) as error:
        raise ValueError(
            f"{config} is no configuration of a top-down network that can be built here: {error}"
        ) from error
    _load(module, state, f"{checkpoint} does not fit {config}")
    meta: Mapping[str, Any] = module.dataset_meta  # type: ignore[assignment]
    identifiers = meta["keypoint_id2name"]
    from mmpose import __version__ as version

    return Network(
        module.eval(),
        pipeline,
        meta,
        _layout([identifiers[i] for i in range(len(identifiers))]),
        {
            "mmpose": version,
            "config": digest,
            "checkpoint": hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest(),
        },
    )


def _find(apis: Any, config: str | Path) -> tuple[Path, str | None]:
    """File of a configuration, and the URL of its published weights."""
    if Path(config).is_file():
        return Path(config), None
    import yaml

    root = Path(apis.__file__).parents[1] / ".mim"
    root = root if root.is_dir() else root.parents[1]  # of a source tree
    names = []
    for part in yaml.safe_load((root / "model-index.yml").read_text(encoding="utf-8"))["Import"]:
        content = yaml.safe_load((root / part).read_text(encoding="utf-8"))
        for model in content.get("Models") or ():
            aliases = model.get("Alias") or ()
            known = {model["Name"], *([aliases] if isinstance(aliases, str) else aliases)}
            if str(config) in known:
                weights = model.get("Weights")
                return root / model["Config"], weights[0] if isinstance(weights, list) else weights
            names += [model["Name"]] if "body_2d_keypoint" in model["Config"] else []
    import difflib

    near = difflib.get_close_matches(str(config), names, n=3, cutoff=0.0)
    raise ValueError(
        f"config must be a file or the name of a network of mmpose; got {config}, which is neither "
        f"(near: {', '.join(near)})"
    )


def _download(url: str | None, config: str | Path) -> Path:
    """Published weights of a network, kept in torch's folder."""
    if url is None:
        raise ValueError(
            f"checkpoint must be given for {config}: mmpose publishes no weights for it"
        )
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / url.rpartition("/")[2]
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        digest = _PUBLISHED.search(path.name)
        try:
            torch.hub.download_url_to_file(url, str(path), digest and digest[1], progress=False)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"the weights of {config} could not be downloaded ({error}): get {url} in another "
                "way and give the file as checkpoint"
            ) from error
    return path


def _read_state(path: Path) -> Mapping[str, Tensor]:
    """State dict of a checkpoint, which may also hold plain values and numbers."""
    if not path.is_file():
        raise ValueError(f"checkpoint must be a file; there is no {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            with torch.serialization.safe_globals(_arrays()):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise ValueError(
            f"{path} holds more than tensors, plain values and arrays of numbers"
            f"{f' ({wanted[1]})' if wanted else ''}, and reading that could run code. If you "
            "trust it, save its weights alone: state = torch.load(path, weights_only=False); "
            "torch.save({'state_dict': state['state_dict']}, new_path)"
        ) from error
    except Exception as error:  # of many kinds, by what is broken
        raise ValueError(f"{path} is damaged or no checkpoint: {error}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path} must hold a state dict, alone or under 'state_dict'")
    broken = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise ValueError(f"{path} has NaN or infinite weights: {', '.join(broken[:3])}")
    return state


def _arrays() -> list[Any]:
    """Globals that pickled numpy arrays need: mmpose keeps some beside its weights."""
    reconstruct = np.empty(0).__reduce__()[0]
    scalar = np.float32(0).__reduce__()[0]
    kinds = {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    return [
        np.ndarray,
        np.dtype,
        *kinds,
        *(
            (function, f"numpy.{module}.multiarray.{name}")
            for module in ("core", "_core")  # of numpy 1 and 2
            for name, function in (("_reconstruct", reconstruct), ("scalar", scalar))
        ),
    ]


def _load(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    state = {key.removeprefix("module."): value for key, value in state.items()}
    try:
        keys = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{what}: {error}") from error
    for kind, names in (("lacks", keys.missing_keys), ("has also", keys.unexpected_keys)):
        if names:
            raise ValueError(f"{what}: it {kind} {len(names)} tensors: {', '.join(names[:3])}")


def _layout(names: list[str]) -> tuple[str, ...]:
    """Names of this package; body and feet of whole-body layouts."""
    ours = tuple(_NAMES.get(name, name) for name in names)
    for known in (HALPE_26, WHOLEBODY_23, COCO_17):
        if ours[: len(known)] == known:
            return known
    return ours


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences mmengine's warning about mmdet, which is not needed."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
