"""Imports at the start: modules are counted, as seconds depend on the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from interpreter import run_python
from og_reid.cli import main
from og_reid.cli.commands import COMMANDS as KNOWN
from og_reid.ops.lattice import lattice_vertices

MAIN = "import sys; from og_reid.cli import main\ntry: code = main(sys.argv[1:])\n"
MAIN += "except SystemExit as stop: code = stop.code\n"
HEAVY = (
    "torch", "numpy", "scipy", "PIL", "yaml", "safetensors", "rich", "matplotlib", "open3d",
    "trimesh", "torch_geometric", "mediapipe", "pyarrow", "sympy",
)  # fmt: skip
COMMANDS = sorted(each.name for each in KNOWN)


def loaded(*arguments: str) -> tuple[str, str]:
    """Exit code, and the heavy packages that a command has imported."""
    script = (
        f"{MAIN}sys.stderr.write(f'\\n{{code}}|' + ','.join({HEAVY!r}[i] for i in "
        f"range({len(HEAVY)}) if {HEAVY!r}[i] in sys.modules))"
    )
    done = run_python(script, *arguments)
    code, _, names = done.stderr.splitlines()[-1].partition("|")
    return code, names


def test_all_commands_are_known() -> None:
    assert {"demo", "lift", "embed", "train", "evaluate", "doctor"} <= set(COMMANDS)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]], ids=str)
def test_the_version_and_the_help_need_no_package(arguments: list[str]) -> None:
    assert loaded(*arguments) == ("0", "")


def test_the_help_of_each_command_needs_no_package() -> None:
    script = (
        "import sys; from og_reid.cli import main\n"
        "for name in sys.argv[1:]:\n"
        "    try: main([name, '--help'])\n"
        f"    except SystemExit: assert not set({HEAVY!r}) & set(sys.modules), name"
    )
    done = run_python(script, *COMMANDS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        [],
        ["lift"],
        ["train", "--out", "x"],
        ["evaluate", "--data", "x", "--ap", "area"],
        ["evaluate", "--data", "x", "--workers", "many"],
    ],
    ids=str,
)
def test_wrong_usage_is_found_before_imports(arguments: list[str]) -> None:
    assert loaded(*arguments) == ("2", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", "gone"],
        ["demo", "--image", "gone.jpg"],
        ["pose", "gone", "--out", "x"],
        ["prepare", "occluded-duke", "--duke", "gone", "--lists", ".", "--out", "x"],
        ["prepare", "occluded-duke", "--duke", ".", "--lists", "gone", "--out", "x"],
        ["compare", "gone.json"],
        ["fuse", "occluded_duke/fusion", "gone", "gone", "--out", "x"],
        ["demo", "--workers", "0"],
        ["evaluate", "--data", "x", "--workers", "-1"],
    ],
    ids=str,
)
def test_what_is_missing_is_found_before_imports(arguments: list[str]) -> None:
    assert loaded(*arguments) == ("1", "")


MISSING = (
    ["lift", "gone.jpg"],
    ["lift", "gone", "--out", "x"],
    ["lift", "gone", "gone.png", "--out", "x", "--skip"],
    ["embed", "gone.jpg"],
    ["embed", "gone.ply", "--skip"],
    ["embed", ".", "--model", "gone.safetensors"],
    ["embed", ".", "--model", "gone"],
    ["pack", "gone", "x"],
    ["pose", "gone.png", "gone", "--out", "x"],
    ["pose", ".", "--out", "x", "--estimator", "mmpose", "--pose-checkpoint", "gone.pth"],
    ["evaluate", "--data", "gone"],
    ["evaluate", "--data", "gone", "--model", "gone.safetensors"],
    ["evaluate", "--data", ".", "--model", "gone"],
    ["train", "gone", "--out", "x"],
    ["train", "gone.yaml", "optim.lr=1", "--data", "gone", "--out", "x"],
    ["train", "synthetic/default", "--data", "gone", "--out", "x"],
    ["train", "market/pgfa", "--data", ".", "--keypoints", "gone", "--out", "x"],
    ["fuse", "gone", ".", ".", "--out", "x"],
    ["fuse", "occluded_duke/fusion", ".", ".", "--data", "gone", "--out", "x"],
)


def test_missing_inputs_of_every_command_are_found_before_imports() -> None:
    script = (
        "import json, sys; from og_reid.cli import main\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    assert main(command) == 1, command\n"
        f"    assert not set({HEAVY!r}) & set(sys.modules), command"
    )
    done = run_python(script, json.dumps(MISSING))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("og-reid: ") == len(MISSING)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "gone.json"], "gone.json is not there: give a file of og-reid evaluate --out"),
        (["compare", "gone.json", "b.json"], "og-reid evaluate --out"),
        (["compare", __file__, "gone.json"], "gone.json is not there"),
        (["fuse", "occluded_duke/fusion", "gone", ".", "--out", "x"], "give the folder of a run"),
        (["lift", "gone.jpg"], "gone.jpg: there is no such file"),
        (["pose", "gone", "--out", "x"], "gone: there is no such file"),
        (["embed", __file__, "--model", "gone"], "--model must be 'default'"),
        (["embed", __file__, "--model", "a.safetensors"], "--model a.safetensors is not a file"),
        (["train", "defualt", "--out", "x"], "did you mean synthetic/default?"),
    ],
    ids=str,
)
def test_what_is_missing_is_named(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert len(error) < 500


@pytest.mark.parametrize("arguments", [["lift", "gone.jpg", "{}"], ["embed", "gone.ply", "{}"]])
def test_with_skip_only_what_is_there_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    (tmp_path / "a.png").touch()
    command = [each.format(tmp_path / "a.png") for each in arguments]
    outs = ["--out", str(tmp_path / "out"), "--skip"]
    assert main([*command, *outs]) == 1  # the empty image itself
    assert "2 of 2 files failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], "there is no command trian: did you mean train? og-reid --help lists all"),
        (["xyz"], "there is no command xyz: og-reid --help lists all"),
        (["lift", "a.jpg", "--oot", "x"], "(did you mean --out in place of --oot?)"),
        (["train", "c", "--ouput=x"], "(did you mean --out in place of --ouput?)"),
        (["lift", "a.jpg", "--formta", "ply"], "(did you mean --format in place of --formta?)"),
        (["evaluate", "--dta", "x"], "(did you mean --data in place of --dta?)"),
        (["lift", "a.jpg", "--format", "plyy"], "did you mean ply?"),
    ],
    ids=str,
)
def test_the_nearest_command_or_option_is_named(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.rstrip().endswith(said)
    assert f"usage: og-reid {arguments[0] if arguments[0] in COMMANDS else ''}" in error


def test_options_that_resemble_none_are_named_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["lift", "a.jpg", "--zzz"])
    assert capsys.readouterr().err.endswith("unrecognized arguments: --zzz\n")


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert {"demo", "lift", "evaluate"} <= set(capsys.readouterr().err.split())


def test_a_file_behind_a_folder_that_is_a_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert loaded("show", str(tmp_path / "a" / "b")) == ("1", "")


@pytest.mark.parametrize(
    "name", ["embed", "lift", "evaluate", "OGNet", "train", "rerank", "losses"]
)
def test_names_of_the_package_load_neither_a_compiler_nor_what_they_do_not_need(name: str) -> None:
    beside = sorted(set(HEAVY) - {"torch", "numpy"} | {"torch._dynamo", "torch._inductor"})
    script = (
        f"import sys, torch, og_reid; og_reid.{name}\n"
        f"print([each for each in {beside!r} if each in sys.modules])"
    )
    done = run_python(script)
    assert done.stdout == "[]\n", done.stderr


def test_an_embedding_needs_no_compiler() -> None:
    script = (
        "import sys, torch, og_reid\n"
        "og_reid.embed(torch.rand(100, 6))\n"
        "print([name for name in ('torch._dynamo', 'sympy') if name in sys.modules])"
    )
    done = run_python(script)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize("ready", [False, True])
def test_vertices_of_a_lattice_are_not_compiled(ready: bool) -> None:
    """The code before and after them is compiled."""
    from torch._dynamo.testing import CompileCounterWithBackend

    def program(points: torch.Tensor) -> torch.Tensor:
        return lattice_vertices(points.sin(), 0.5).weight.cos()

    points = torch.randn(1, 20, 3, generator=torch.Generator().manual_seed(0))
    torch.compiler.reset()
    if ready:
        lattice_vertices(points, 0.5)
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(program, backend=counter)
    assert torch.equal(compiled(points), program(points))
    names = [node.name for graph in counter.graphs for node in graph.graph.nodes]
    assert {"cos"} <= {name.rstrip("_0123456789") for name in names}
    assert not [name for name in names if name.startswith(("unique", "scatter", "index_add"))]


@pytest.mark.parametrize(
    "names", ["", "og_reid.embed; og_reid.lift; og_reid.load_model; og_reid.evaluate"]
)
def test_imports_take_little_processor_time_beyond_torch(names: str) -> None:
    """The least of several runs: what else the machine does only adds to it."""
    script = (
        "import time, torch; begin = time.process_time(); import og_reid; "
        f"{names}\nprint(time.process_time() - begin)"
    )
    runs = [run_python(script) for _ in range(3)]
    assert all(done.returncode == 0 for done in runs), runs
    assert min(float(done.stdout) for done in runs) < 0.6
