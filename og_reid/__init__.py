"""3D point-cloud and pose-aware person re-identification that survives occlusion.

``describe`` embeds images of people with their visible local features, ``similarity``,
``same_person`` and ``rank`` compare them, ``explain`` gives the contributions to a similarity, and
``follow`` joins people through videos; ``lift`` turns an image into a coloured point cloud,
``embed`` a cloud into an embedding, ``evaluate`` scores a ranking, and ``export`` writes a model
for onnxruntime. Names are imported on first use, so that importing stays light.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshes import PointCloud
    from pose import Keypoints

    from .api import (
        describe,
        embed,
        explain,
        export,
        follow,
        lift,
        load_model,
        rank,
        same_person,
        similarity,
    )
    from .evaluation import Metrics, evaluate
    from .files.onnx_model import OnnxModel
    from .gallery import Gallery
    from .models import Embedding, OGNet
    from .retrieval import Labels

__all__ = [
    "Embedding",
    "Gallery",
    "Keypoints",
    "Labels",
    "Metrics",
    "OGNet",
    "OnnxModel",
    "PointCloud",
    "describe",
    "embed",
    "evaluate",
    "explain",
    "export",
    "follow",
    "lift",
    "load_model",
    "rank",
    "same_person",
    "similarity",
]

_HOME = {
    "Embedding": "og_reid.models",
    "Gallery": "og_reid.gallery",
    "Keypoints": "pose",
    "Labels": "og_reid.retrieval",
    "Metrics": "og_reid.evaluation",
    "OGNet": "og_reid.models",
    "OnnxModel": "og_reid.files.onnx_model",
    "PointCloud": "meshes",
    "describe": "og_reid.api",
    "embed": "og_reid.api",
    "evaluate": "og_reid.evaluation",
    "explain": "og_reid.api",
    "export": "og_reid.api",
    "follow": "og_reid.api",
    "lift": "og_reid.api",
    "load_model": "og_reid.api",
    "rank": "og_reid.api",
    "same_person": "og_reid.api",
    "similarity": "og_reid.api",
}

# Submodules available without their own import, as in ``og_reid.rerank.k_reciprocal``.
_PACKAGES = (
    "adaptation", "config", "data", "evaluation", "gallery", "inference", "losses", "models", "ops",
    "pipelines", "rerank", "retrieval", "tracking", "train", "viz",
)  # fmt: skip


def _refuse_shadows() -> None:
    """Refuses a user's ``pose.py`` or ``meshes`` that shadows the package of that name."""
    home = Path(__file__).resolve().parent.parent
    for room in ("pose", "meshes"):
        spec = find_spec(room)
        origin = None if spec is None else spec.origin
        if origin is None or Path(origin).resolve().parent.parent != home:
            found = "was not found" if origin is None else f"comes from {origin}"
            raise ImportError(
                f"og_reid needs its own package {room!r}, but {room!r} {found}: rename that file "
                "or folder, or start Python elsewhere"
            )


_refuse_shadows()

# After the check for shadows:
from meshes.notebook import register_renderer  # noqa: E402
from pose.deprecation import deprecated_attribute  # noqa: E402


def _notebook_view(cloud: Any) -> str:
    """Interactive view of a point cloud in a notebook."""
    viz = import_module(f"{__name__}.viz")
    html: str = viz.notebook_view(viz.ViewItem(cloud))
    return html


register_renderer(_notebook_view)


def _has_torch() -> bool:
    try:
        return find_spec("torch") is not None
    except (ImportError, ValueError):  # blocked
        return False


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"{__name__}.{name}")
    if name == "load_model" and not _has_torch():
        return import_module("og_reid.files.onnx_model").open_model
    if name not in _HOME:
        return deprecated_attribute(__name__, name)
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
