"""The switch of the native libraries."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from og_reid.ops import _library, native_info

SCRIPT = """
import warnings
from pathlib import Path
warnings.simplefilter("error")
import torch
from og_reid.ops import knn, native_info
print(native_info()["cpu_library"])
print(knn(torch.arange(4.0).view(1, 4, 1), 2)[0, 3].tolist())
"""


def run(value: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OG_REID_NATIVE": value}
    command = [sys.executable, "-c", SCRIPT]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_switched_off_without_a_warning() -> None:
    result = run("0")
    assert result.stdout.split("\n")[:2] == ["None", "[3, 2]"], result.stderr


@pytest.mark.skipif(native_info()["cpu_library"] is None, reason="no native CPU library here")
def test_switched_on() -> None:
    path, neighbors = run("1").stdout.split("\n")[:2]
    assert os.path.exists(path)
    assert neighbors == "[3, 2]"


def test_missing_cuda_library_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OG_REID_NATIVE", raising=False)
    monkeypatch.setattr(_library, "_load", lambda name: None)
    _library.cuda_library.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="CUDA library of og_reid is missing") as caught:
            assert _library.cuda_library() is _library.cuda_library() is None
        assert len(caught) == 1
        _library.cuda_library.cache_clear()
        monkeypatch.setenv("OG_REID_NATIVE", "0")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert _library.cuda_library() is None
    finally:
        _library.cuda_library.cache_clear()


@pytest.mark.skipif(native_info()["cpu_library"] is None, reason="no native CPU library here")
def test_libraries_of_a_folder(tmp_path: Path) -> None:
    assert "library of og_reid is missing" in run(str(tmp_path)).stderr
    copy = tmp_path / "_cpu.so"
    copy.write_bytes(Path(str(native_info()["cpu_library"])).read_bytes())
    assert run(str(tmp_path)).stdout.split("\n")[:2] == [str(copy), "[3, 2]"]


def test_other_values_are_refused() -> None:
    result = run("off")
    assert result.returncode != 0
    assert "OG_REID_NATIVE must be 0 (plain torch) or 1" in result.stderr
