"""Importing torchvision: missing, unfit, and built for another torch."""

import os
import subprocess
from pathlib import Path

import pytest

from interpreter import run_python

ROOT = Path(__file__).parents[3]
CALL = """
import torch
from pose.runtime.torchvision_import import import_torchvision
print(import_torchvision("a test", "pip install it").__name__)
try:
    print(bool(torch.ops.torchvision.nms))
except AttributeError:
    print(False)
"""


def run(tmp_path: Path, source: str | None) -> subprocess.CompletedProcess:
    """Import in a new process a package that consists of this source."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "models.py").write_text("")
    source = "raise ModuleNotFoundError('none')" if source is None else source
    (tmp_path / "torchvision" / "__init__.py").write_text(source)
    return run_python(CALL, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")


@pytest.mark.parametrize(
    ("source", "declared"),
    [
        ("", "False"),  # whole: nothing is declared
        ("import torch\ntorch.library.register_fake('torchvision::nms', lambda *a: None)", "True"),
    ],
)
def test_the_operator_is_declared_only_where_it_is_missing(tmp_path, source, declared):
    done = run(tmp_path, source)
    assert done.stdout.split() == ["torchvision", declared], done.stderr


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "torchvision is needed for a test; install it with: pip install it"),
        ("raise RuntimeError('compiled for torch 1.0')", "does not fit torch"),
    ],
)
def test_missing_and_mismatched_torchvision_are_named(tmp_path, source, message):
    done = run(tmp_path, source)
    assert done.returncode == 1
    assert "ImportError" in done.stderr.splitlines()[-1]
    assert message in done.stderr.splitlines()[-1]
