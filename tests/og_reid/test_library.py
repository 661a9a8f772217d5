"""The switch of the native libraries."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from og_reid.ops import native_info

SCRIPT = """
import warnings
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


def test_other_values_are_refused() -> None:
    result = run("off")
    assert result.returncode != 0
    assert "OG_REID_NATIVE must be 0 (plain torch) or 1" in result.stderr
