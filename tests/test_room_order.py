"""Import order within pose, meshes and the rooms of og_reid that have rooms of their own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the ground up: a module or room may import from the lines before its own, deferred imports
# included; beside it, on its own line, nothing but its own files.
ORDER = {
    "pose": (
        ("renamed", "literals", "files"),
        ("deprecation",),
        ("runtime", "keypoints", "joint_names"),
        ("image", "layouts", "person_selection"),
        ("formats", "visibility"),
        ("estimators",),
    ),
    "meshes": (
        ("notebook", "rotation", "rasterizer", "pointcloud_values"),
        ("body", "formats", "pointcloud"),
        ("pointcloud_io", "fitting"),
        ("adapters", "color", "regressors"),
        ("hypotheses", "quality", "reference_layout"),
        ("lift",),
        ("lift_people", "local_features", "texture", "visibility", "world"),
        ("rerendering",),
    ),
    "meshes.world": (
        ("rng",),
        ("surfaces",),
        ("imaging", "people"),
        ("scenery",),
        ("settings",),
        ("city", "heldout", "scene"),
        ("presets", "tracks", "truth"),
        ("rendering", "folder"),
        ("draft", "labelled", "market"),
        ("clouds", "items"),
        ("shards",),
    ),
    "og_reid.data": (
        ("files", "sample", "keyed_random", "samplers"),
        ("clouds", "images", "labelled"),
        ("datasets", "augmentation"),
        ("generation",),
    ),
    "og_reid.viz": (
        ("style", "looks", "splatting", "movies"),
        ("drawing", "html_report"),
        (
            "curves", "embedding_map", "explanation", "items", "lift", "ranking", "thumbnails",
            "tracks", "world_sheet",
        ),
        ("coloring", "explanation_html", "lift_page", "ranking_grid"),
        ("ranking_html", "scene", "viewer", "window"),
        ("viewing",),
    ),
}  # fmt: skip


def _modules(package: str) -> dict[str, Path]:
    """Every module below a package, by its dotted name."""
    found = {}
    for path in sorted((ROOT / package.replace(".", "/")).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] != "__init__":
            found[".".join(parts)] = path
        elif ".".join(parts[:-1]) != package:
            found[".".join(parts[:-1])] = path
    return found


def _imported(name: str, path: Path) -> set[str]:
    """Dotted names of everything that a module imports, names in modules among them."""
    parts = name.split(".")
    package = parts if path.name == "__init__.py" else parts[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("package", ORDER)
def test_modules_of_a_package_import_from_the_lines_before_their_own(package: str) -> None:
    level = {name: row for row, names in enumerate(ORDER[package]) for name in names}
    modules = _modules(package)
    rooms = {name.removeprefix(f"{package}.").split(".")[0] for name in modules}
    assert rooms == set(level), "every module and room has its line"
    for name, path in modules.items():
        own = name.removeprefix(f"{package}.").split(".")[0]
        for target in _imported(name, path):
            if not target.startswith(f"{package}."):
                continue
            other = target.removeprefix(f"{package}.").split(".")[0]
            if other != own and other in level:
                assert level[other] < level[own], f"{name} imports {target}"


@pytest.mark.parametrize("package", ["pose", "meshes", "og_reid.data", "og_reid.viz"])
def test_no_modules_import_each_other(package: str) -> None:
    modules = _modules(package)
    uses = {
        name: {
            module
            for target in _imported(name, path)
            for module in (target, target.rpartition(".")[0])
            if module in modules and module != name
        }
        for name, path in modules.items()
    }
    while uses:
        free = {name for name, targets in uses.items() if not targets & set(uses)}
        assert free, f"these import each other in a circle: {sorted(uses)}"
        uses = {name: targets for name, targets in uses.items() if name not in free}
