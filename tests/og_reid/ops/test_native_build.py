"""The build says what becomes of the CUDA kernels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool, path=PATH) for tool in ("cmake", "make", "g++")),
    reason="needs cmake, make and g++",
)


def configure(cuda: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Configure a build where no CUDA compiler is to be found."""
    return subprocess.run(
        ["cmake", "-S", ROOT, "-B", folder, "-G", "Unix Makefiles", f"-DOG_REID_CUDA={cuda}"],
        env={**os.environ, "PATH": PATH, "CUDACXX": str(folder / "none")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_nvcc(tmp_path: Path) -> None:
    auto = configure("AUTO", tmp_path / "auto")
    assert auto.returncode == 0, auto.stderr
    assert "nvcc not found: CPU kernels only" in auto.stdout
    insisted = configure("ON", tmp_path / "on")
    assert insisted.returncode != 0
    assert "OG_REID_CUDA=ON, but no CUDA compiler was found" in insisted.stderr


def test_left_out(tmp_path: Path) -> None:
    result = configure("OFF", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "CUDA" not in result.stdout
    wrong = configure("yes", tmp_path)
    assert wrong.returncode != 0
    assert "must be AUTO, ON or OFF; got yes" in wrong.stderr
