"""Packages whose names are imported on first use: none of them brings torch by itself."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIGHT = ("pose", "pose.literals", "meshes", "og_reid.data", "og_reid.data.datasets", "og_reid.viz")


@pytest.mark.parametrize("module", LIGHT)
def test_import_needs_no_torch(module):
    code = f"import sys, {module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("package", ["pose", "meshes", "og_reid.data", "og_reid.viz"])
def test_every_public_name_is_found_and_typed(package):
    """Each name of ``__all__`` has a home, and type checkers find it at the same place."""
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(module._HOME)
    for name in module.__all__:
        home = importlib.import_module(f"{package}.{module._HOME[name]}")
        assert getattr(module, name) is getattr(home, name)
    typed = {
        alias.name: node.module
        for node in ast.walk(ast.parse(Path(module.__file__).read_text()))
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
        if node.module != "deprecation"
    }
    assert typed == module._HOME
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = module.missing
