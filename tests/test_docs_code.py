"""Code of the README and of the documentation: every block runs, or says why not."""

from __future__ import annotations

import csv
import io
import itertools
import re
import tomllib
import warnings
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from PIL import Image

from doc_blocks import Block, blocks, commands
from meshes import PointCloud, write_pointcloud
from og_reid import evaluate
from og_reid.cli import main
from og_reid.cli.commands import COMMANDS
from og_reid.cli.parser import build_parser, parse
from og_reid.config.adapt import AdaptConfig
from og_reid.config.load import load_config
from og_reid.config.schema import TrainConfig
from og_reid.inference.fusion import FusionConfig
from pose.deprecation import rename_arguments
from rendered_people import one_person

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES if page.exists() for block in blocks(page)]
GROUPS = ("world", "data", "model", "augment", "image", "loss", "optim", "budget")
# Of the benchmarks.
OTHER_OPTIONS = {"--shuffle", "--rerank"}
NOT_RUN, SLOW = 4, 4
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Files and folders that commands of the documentation are given.
IMAGES = (
    "photo.jpg", "a.jpg", "photos/1.jpg",
    "FOLDER/query/0001_c1s1_000001_00.jpg", "FOLDER/gallery/0001_c2s1_000002_00.jpg",
    "FOLDER/query/0002_c1s1_000003_00.jpg", "FOLDER/gallery/0002_c2s1_000004_00.jpg",
)  # fmt: skip
FILES = (
    "b.ply", "keypoints.json", "other.safetensors",
    "rtmpose-s.pth", "DukeMTMC-reID.zip", "runs/market/model.safetensors",
    "runs/pgfa/model.safetensors", "runs/market_small_circle/model.safetensors",
)  # fmt: skip
# Commands that take seconds on a few made images, in this order.
EXECUTED = (
    "og-reid datasets",
    "og-reid doctor",
    "og-reid lift photo.jpg --out person.ply",
    "og-reid lift photos --out clouds",
    "og-reid lift photos --format store --out store",
    "og-reid embed a.jpg b.ply --out features.npz",
    "og-reid embed photos --out features.npz --skip",
    "og-reid pose photos --out keypoints.json",
    "og-reid cache list",
    "og-reid evaluate --data FOLDER",
    "og-reid evaluate --dataset folder --data FOLDER",
    "og-reid evaluate --dataset csv --data images.csv",
    "og-reid compare a.json --details",
    "og-reid compare a.json b.json",
)
FOLDERS = (
    "FOLDER", "DIR", "Market-1501-v15.09.15", "Occluded_Duke", "3DMarket+bg", "market.store",
    "runs/og_net", "runs/fusion", "runs/a", "runs/b", "runs/default/world", "runs/held_out",
    "runs/demo/world",
)  # fmt: skip


def name(block: Block) -> str:
    return f"{block.page.relative_to(ROOT)}:{block.line}"


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what commands are given; other contents than images and clouds are missing."""
    folder = tmp_path_factory.mktemp("given")
    for each in FOLDERS:
        (folder / each).mkdir(parents=True, exist_ok=True)
    for each in (*IMAGES, *FILES):
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).touch()
    for number, each in enumerate(IMAGES):
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(one_person(number // 2 + 1)).rotate(number % 2).save(folder / each)
    rows = []
    for each in IMAGES[3:]:
        _, split, name = each.split("/")
        rows.append(f"{each},{name[:4]},{name[6]},{split}")
    (folder / "images.csv").write_text("\n".join(["path,pid,camid,split", *rows]))
    write_pointcloud(folder / "b.ply", PointCloud(torch.rand(300, 3), torch.rand(300, 3)))
    for each, noise in (("a.json", 0.1), ("b.json", 0.2)):
        found = torch.eye(12) + noise * torch.rand(12, 12)
        metrics = evaluate(torch.eye(12), found, query_pids=range(12), gallery_pids=range(12))
        metrics.to_json(folder / each)
    return folder


def test_every_block_has_a_language_that_is_tested() -> None:
    for block in BLOCKS:
        known = {"python", "setup", "sh", "yaml", "csv", "text"}
        assert block.language in known, f"{name(block)} is {block.language!r}"
        assert block.language in {"python", "sh"} or not block.marks, name(block)


@pytest.mark.parametrize(("mark", "count"), [("not run", NOT_RUN), ("slow", SLOW)])
def test_blocks_that_are_treated_otherwise_are_few_and_say_why(mark: str, count: int) -> None:
    marked = {name(block): block.marks[mark] for block in BLOCKS if mark in block.marks}
    assert len(marked) == count, marked
    assert all(len(reason) > 10 for reason in marked.values()), marked


@pytest.mark.parametrize(
    "page", sorted({block.page for block in of("python")}), ids=lambda page: page.stem
)
def test_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    space: dict[str, object] = {"__name__": "page"}
    for block in blocks(page):
        if block.language in {"python", "setup"}:
            # As many lines before it as in the page: what fails is found there.
            code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
            if "not run" not in block.marks:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", DeprecationWarning)
                    exec(code, space)


@pytest.mark.parametrize("block", of("yaml"), ids=name)
def test_settings_are_read(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(block.code)
    kinds = {"fuse": FusionConfig, "adapt": AdaptConfig}
    kind = kinds.get(block.page.stem, TrainConfig)
    assert isinstance(load_config(path, (), kind), kind)


@pytest.mark.parametrize("block", of("csv"), ids=name)
def test_tables_have_equally_many_columns(block: Block) -> None:
    assert len({len(row) for row in csv.reader(io.StringIO(block.code))}) == 1


@pytest.mark.parametrize("block", of("sh"), ids=name)
def test_commands_are_as_their_programs_take_them(
    block: Block, given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(given)
    for words in commands(block.code):
        check_command(words)


def test_commands_that_are_executed_are_in_the_documentation() -> None:
    reported = {" ".join(words) for block in of("sh") for words in commands(block.code)}
    assert set(EXECUTED) <= reported


def test_commands_that_take_seconds_run(
    given: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(given)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # no further processes
    for command in EXECUTED:
        assert main(command.split()[1:]) == 0, command


def check_command(words: list[str]) -> None:
    program, *rest = words
    if program == "og-reid":
        check_og_reid(rest)
    elif program == "torchrun":
        assert rest[rest.index("-m") + 1] == "og_reid.cli"
        check_og_reid(rest[rest.index("-m") + 2 :])
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(rest) - {word for word in rest if "=" in word} <= {*targets}, words
    elif program == "python":
        source = (ROOT / rest[0]).read_text()
        options = [word for word in rest[1:] if word.startswith("--")]
        assert all(f'"{option}"' in source for option in options), words
    elif program == "pip":
        check_pip(rest)
    elif program == "pytest":
        markers = PROJECT["tool"]["pytest"]["ini_options"]["markers"]
        assert rest[0] != "-m" or any(each.startswith(f"{rest[1]}:") for each in markers)
    else:
        assert program in {"apt", "cd", "export", "mkdir", "npm", "podman", "tar"}, words


def check_og_reid(arguments: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        assert rename_arguments(arguments) == arguments
        options = parse(COMMANDS, arguments)
        if getattr(options, "config", None):
            kinds = {"fuse": FusionConfig, "adapt": AdaptConfig}
            kind = kinds.get(options.command, TrainConfig)
            settings = [*getattr(options, "settings", ())]
            load_config(options.config, settings, kind)


def check_pip(arguments: list[str]) -> None:
    assert arguments[0] == "install"
    extras = PROJECT["project"]["optional-dependencies"]
    for before, word in itertools.pairwise(arguments):
        if before in {"-r", "-c", "--requirement", "--constraint"}:
            assert (ROOT / word).exists(), arguments
        elif found := re.search(r"\[([\w,]+)\]", word):
            assert set(found[1].split(",")) <= {*extras}, arguments


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists()], ids=lambda p: p.stem)
def test_files_of_the_project_that_a_page_names_are_there(page: Path) -> None:
    folders = "tests|benchmarks|configs|tools|og_reid|meshes|pose"
    begin = "`(?:OMP_NUM_THREADS=1 )?(?:python )?"
    named = re.findall(rf"{begin}((?:{folders})/[\w/.-]+)", page.read_text())
    assert [each for each in named if not (ROOT / each.rstrip(".")).exists()] == []


def test_settings_and_options_that_pages_name_are_there() -> None:
    """Inline code, such as ``model.bnneck`` and ``--resume``."""
    _, parsers = build_parser(COMMANDS)
    options = {each for parser in parsers.values() for each in parser._option_string_actions}
    known = {key: {each.name for each in fields(getattr(TrainConfig(), key))} for key in GROUPS}
    for page in PAGES:
        for code in re.findall(r"`([^`\n]+)`", page.read_text()):
            for group, name in re.findall(r"(?<![\w.])([a-z]+)\.([a-z_]+)(?![\w.(])", code):
                if group in GROUPS and name != "safetensors":  # a file
                    assert name in known[group], f"{page.name}: {code}"
            if code.startswith("--"):
                assert code.split()[0] in options | OTHER_OPTIONS, f"{page.name}: {code}"
