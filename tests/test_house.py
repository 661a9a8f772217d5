"""The rules of the house: import order, light imports, public names, contents of the wheel."""

import ast
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("pose", "meshes", "og_reid")
# From the ground up: a room may import from itself and from the rooms of the lines before its own.
ORDER = (
    ("files",),
    ("ops",),
    ("models",),
    ("losses", "data"),
    ("retrieval",),
    ("evaluation", "rerank", "tracking"),
    ("adaptation",),
    ("inference",),
    ("api",),
    ("gallery",),
    ("config",),
    ("train",),
    ("pipelines",),
    ("serve",),
    ("cli",),
)
# Of other packages alone: pictures are drawn from point clouds and plain values.
APART = ("viz",)
USERS_OF_VIZ = ("pipelines", "serve", "cli")
LOOSE = {"__init__.py"}
HEAVY = {
    "mediapipe", "open3d", "trimesh", "matplotlib", "skimage", "torch_geometric", "rich", "PIL",
    "cv2", "smplx", "scipy", "torchvision", "pytorch_metric_learning", "sklearn", "mmpose",
    "mmengine", "lancedb",
}  # fmt: skip


def _modules() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def _imports(path: Path) -> list[tuple[str, int, bool]]:
    """(absolute module, line, inside a function or TYPE_CHECKING) of every import."""
    package = path.relative_to(ROOT).with_suffix("").parts
    found = []

    def visit(node: ast.AST, deferred: bool) -> None:
        for child in ast.iter_child_nodes(node):
            inner = deferred or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                inner = True
            if isinstance(child, ast.Import):
                found.extend((alias.name, child.lineno, inner) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level] if child.level else ()
                module = ".".join([*base, *([child.module] if child.module else [])])
                if child.module is None:
                    found.extend((f"{module}.{a.name}", child.lineno, inner) for a in child.names)
                else:
                    found.append((module, child.lineno, inner))
            elif isinstance(child, ast.Call) and child.args:
                name, given = ast.unparse(child.func).split(".")[-1], child.args[0]
                named = isinstance(given, ast.Constant) and name in {"import_module", "__import__"}
                if named and path.name != "deprecation.py":  # which forwards old names
                    found.append((str(given.value), child.lineno, inner))
            visit(child, inner)

    visit(ast.parse(path.read_text()), False)
    return found


def _allowed(room: str) -> set[str]:
    """The rooms of og_reid that a room may import."""
    if room in APART:
        return {room}
    before = set().union(*itertools.takewhile(lambda line: room not in line, ORDER))
    return {room} | before | (set(APART) if room in USERS_OF_VIZ else set())


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for module, line, deferred in _imports(path):
        target = module.split(".")[0]
        if target in ROOMS:
            assert ROOMS.index(target) <= ROOMS.index(package), f"{path}:{line} imports {module}"
        if target == package == "og_reid" and name != "og_reid.__init__":
            assert module.count("."), f"{path}:{line} imports og_reid as a whole"
            allowed = _allowed(name.split(".")[1])
            assert module.split(".")[1] in allowed, f"{path}:{line} imports {module}"
        if target in HEAVY:
            assert deferred, f"{path}:{line} imports {module} at module level"


def test_every_room_has_its_place_and_none_is_loose():
    parts = {path.name for path in (ROOT / "og_reid").glob("*.py")}
    assert parts == LOOSE
    rooms = {path.name for path in (ROOT / "og_reid").iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set().union(*ORDER, APART)
    assert not [path for path in _modules() if "utils" in path.stem.split("_")]


def test_no_two_files_import_each_other():
    modules = {_name(path): path for path in _modules()}
    graph = {name: _targets(path, set(modules)) - {name} for name, path in modules.items()}
    assert [sorted(group) for group in _strongly_connected(graph) if len(group) > 1] == []


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _targets(path: Path, known: set[str]) -> set[str]:
    """The modules that a file imports anywhere; of a submodule the package is not counted."""
    found = set()
    package = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = {f"{module}.{alias.name}" for alias in node.names}
            found |= names & known
            found |= {module} if names - known else set()
    return found & known


def _strongly_connected(graph: dict[str, set[str]]) -> list[set[str]]:
    """Tarjan's components."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in graph[name]:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            group = set(stack[stack.index(name) :])
            del stack[stack.index(name) :]
            found.append(group)

    for name in graph:
        if name not in index:
            visit(name)
    return found


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_readable(path):
    text = path.read_text()
    assert text.count("\n") <= 420, "split the file by ideas"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 85, f"{node.name} is too long"


def test_the_command_line_is_thin():
    """Arguments, one call, printing: the application itself is a library."""
    lines = {
        path: len(path.read_text().splitlines()) for path in (ROOT / "og_reid/cli").glob("*.py")
    }
    commands = (ROOT / "og_reid/cli/commands.py").read_text().count("    Command(")
    assert sum(lines.values()) <= 50 * commands + 50, lines
    for path in _modules():
        if "cli" not in path.relative_to(ROOT).parts:
            assert "argparse" not in path.read_text(), path


def test_the_first_page_and_the_configurations_are_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 140
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        assert len(path.read_text().splitlines()) <= 25, path


def _offered(tree: ast.Module) -> set[str]:
    """The names in ``__all__`` of a module."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            found |= set(ast.literal_eval(node.value))
    return found


def test_every_public_name_is_documented():
    """Functions and classes by a docstring, constants by a comment or docstring beside them."""
    missing = []
    for path in _modules():
        text = path.read_text()
        lines = text.splitlines()
        tree = ast.parse(text)
        names, body = _offered(tree), tree.body
        for number, node in enumerate(body):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names:
                overload = any("overload" in ast.unparse(each) for each in node.decorator_list)
                if not overload and not ast.get_docstring(node):
                    missing.append(f"{path}:{node.lineno} {node.name}")
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                after = body[number + 1] if number + 1 < len(body) else None
                reported = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                reported = reported or lines[node.lineno - 2].startswith("#")
                reported = reported or "#" in lines[node.lineno - 1]
                for target in targets:
                    if isinstance(target, ast.Name) and target.id in names and not reported:
                        missing.append(f"{path}:{node.lineno} {target.id}")
    assert missing == []


def test_front_door_is_complete_and_light():
    code = (
        "import sys, torch; before = set(sys.modules); import og_reid;"
        "new = {m.split('.')[0] for m in set(sys.modules) - before};"
        f"heavy = new & {HEAVY!r}; assert not heavy, heavy;"
        "missing = [n for n in og_reid.__all__ if getattr(og_reid, n, None) is None];"
        "assert not missing, missing;"
        "import types; assert not isinstance(og_reid.evaluate, types.ModuleType);"
        f"heavy = {{m.split('.')[0] for m in sys.modules}} & {HEAVY!r}; assert not heavy, heavy;"
        "og_reid.rerank.k_reciprocal, og_reid.data.load_dataset, og_reid.evaluation.verify"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_what_runs_on_a_gpu_machine_needs_few_packages():
    """Ops, models, losses, training and the synthetic world: no imaging or 3D package."""
    blocked = HEAVY - {"scipy"}
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}));"
        "import og_reid.ops, og_reid.models, og_reid.losses, og_reid.train, og_reid.evaluation;"
        "import meshes.world, meshes.rasterizer, torch;"
        "from meshes.world import draw_camera, render, sample_scene;"
        "render(sample_scene(1, draw_camera(0, 1), torch.Generator().manual_seed(0)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_public_names_are_the_known_ones():
    import og_reid

    assert sorted(og_reid.__all__) == [
        "Embedding", "Gallery", "Keypoints", "Labels", "Metrics", "OGNet", "OnnxModel",
        "PointCloud", "describe", "embed", "evaluate", "explain", "export", "follow", "lift",
        "load_model", "rank", "same_person", "similarity",
    ]  # fmt: skip
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = og_reid.missing


@pytest.mark.parametrize("room", ["pose", "meshes"])
def test_a_shadowing_file_of_the_users_is_named(tmp_path, room):
    (tmp_path / f"{room}.py").write_text("x = 1\n")
    (tmp_path / "script.py").write_text("import og_reid\n")
    done = subprocess.run(
        # -S: without site-packages, whose editable installs find our rooms before any file.
        [sys.executable, "-S", str(tmp_path / "script.py")],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert done.returncode == 1
    assert f"{room}.py" in done.stderr.splitlines()[-1]
    assert "rename" in done.stderr.splitlines()[-1]


def test_no_paths_of_a_machine_and_no_loose_ends():
    tracked = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.toml", "*.yaml", "*.cpp", "*.cu", "*.h", "Makefile"],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    if tracked.returncode:
        pytest.skip("not a git checkout")
    pattern = re.compile(r"/(home|root|work|Users)/\w|\bTODO\b|\bFIXME\b")
    for name in tracked.stdout.split():
        if name == "tests/test_house.py" or not (ROOT / name).exists():
            continue
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1):
            assert not pattern.search(line), f"{name}:{number}: {line.strip()}"


def test_wheel_holds_the_three_rooms_and_their_data(tmp_path):
    """Built as users build it, but without fetching the build requirements again."""
    import zipfile

    pytest.importorskip("scikit_build_core")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation",
         "--quiet", "--wheel-dir", str(tmp_path)],
        check=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    assert "-py3-none-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == set(ROOMS)
    for needed in (
        "meshes/data/og_body_atlas.npz",
        "meshes/data/og_body_compact.npz",
        "og_reid/weights/cloud.safetensors",
        "og_reid/weights/default.safetensors",
        "og_reid/weights/imagenet_cells.safetensors",
        "og_reid/weights/words.safetensors",
        "og_reid/configs/synthetic/default.yaml",
        "og_reid/viz/static/viewer.js",
        "og_reid/viz/static/viewer.css",
        "og_reid/viz/static/viewer.html",
        "og_reid/serve/static/page.html",
        "og_reid/serve/static/page.css",
        "og_reid/serve/static/page.js",
        "og_reid/py.typed",
        "pose/py.typed",
        "meshes/py.typed",
    ):
        assert needed in names, needed
    assert {"og_reid/_cpu.so", "meshes/_raster.so"} <= set(names)
    modules = {path.relative_to(ROOT).as_posix() for path in _modules()}
    assert modules - set(names) == set()
    assert not [name for name in names if "csrc" in name or "tests" in name or "pycache" in name]
    dist = next(name for name in names if name.endswith("METADATA")).split("/")[0]
    assert f"{dist}/licenses/NOTICE" in names
    assert wheel.stat().st_size < 13e6
