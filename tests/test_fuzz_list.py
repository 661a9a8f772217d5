"""Every public reader of files is fuzzed, and changed files still reach what they hold."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import io
import json
import random
import re
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

import pytest

from file_mutators import dictionary, mutated

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tools" / "fuzz.py"

#: Public readers without a target, and why.
NOT_FUZZED = {
    "load_atlas": "reads a file that comes with the package",
    "load_calibration": "reads a file that comes with the package",
    "load_library": "loads a library that comes with the package",
    "load_pose_prior": "reads a file that comes with the package",
    "load_by": "calls a loader that a user registered",
    "load_dataset": "reads names of files in folders; lists and tables in them have targets",
    "load_imagenet_cells": "reads files that come with packages",
    "load_market": "reads names of files in folders",
    "load_market3d": "reads names of files in folders; read_obj has a target",
    "load_network": "gives its file to mmengine, which runs the Python in it: trusted files only",
    "load_named": "gives its arguments to load_dataset",
    "load_run_results": "finds the file for load_results, which has a target",
    "read_as": "reads names of files in folders",
    "read_dataset": "reads names of files in folders",
    "read_value": "reads a setting of the command line, no file; read_yaml has targets",
    "load_cloud_model": "calls load_model, which has a target",
    "read_fusion": "calls read_fusion_record and read_kind, which have targets",
}

Targets = dict[str, tuple[str, object, list[bytes]]]


@pytest.fixture(scope="module")
def targets() -> Targets:
    spec = importlib.util.spec_from_file_location("fuzz_tool", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_tool"] = tool
    spec.loader.exec_module(tool)
    found: Targets = tool.targets()
    return found


def public_readers() -> dict[CodeType, str]:
    """Functions of any ``__all__`` that are called read_... or load_..., by their code."""
    found = {}
    for room in ("pose", "meshes", "og_reid"):
        for path in ROOT.glob(f"{room}/**/*.py"):
            names = [name for name in exported(path) if re.match("(read|load)_", name)]
            place = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            module = importlib.import_module(place.removesuffix(".__init__")) if names else None
            for name in names:
                function = inspect.unwrap(getattr(module, name))
                found[function.__code__] = name
    return found


def exported(path: Path) -> list[str]:
    for statement in ast.parse(path.read_text("utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(statement.value)
            return names
    return []


def test_every_public_reader_is_reached_from_a_target(targets: Targets, tmp_path: Path) -> None:
    readers, reached = public_readers(), set()
    assert len(readers) > 35

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in readers:
            reached.add(readers[frame.f_code])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for ending, read, seeds in targets.values():
            for seed in seeds:
                path = tmp_path / f"input{ending}"
                path.write_bytes(seed)
                sys.settrace(note)
                try:
                    read(path)  # type: ignore[operator]
                except (ValueError, OSError):
                    pass
                finally:
                    sys.settrace(None)
    assert set(readers.values()) - reached == set(NOT_FUZZED)


def test_names_are_plain(targets: Targets) -> None:
    assert [name for name in targets if not re.fullmatch(r"[a-z0-9_]+-[a-z0-9_-]+", name)] == []


def test_the_list_needs_no_fuzzer(targets: Targets, tmp_path: Path) -> None:
    (tmp_path / "atheris.py").write_text("raise ImportError('absent')")
    command = [sys.executable, "-c", (
        f"import sys, runpy; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; "
        f"sys.argv = ['fuzz.py', '--list']; runpy.run_path({str(TOOL)!r}, run_name='__main__')"
    )]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.split() == list(targets)


def held(data: bytes, ending: str) -> None:
    """Takes a container apart, comparing lengths and check sums."""
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.testzip() is None
    elif data[:4] == b"\x89PNG":
        for name, content in chunks(data):
            assert zlib.crc32(name + content[:-4]) == int.from_bytes(content[-4:], "big")
    elif ending == ".json":
        json.loads(data)
    elif ending == ".safetensors":
        start = 8 + int.from_bytes(data[:8], "little")
        entries = json.loads(data[8:start])
        stops = [each["data_offsets"][1] for name, each in entries.items() if name[:2] != "__"]
        assert start + max(stops, default=0) == len(data)


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place < len(data):
        stop = place + 12 + int.from_bytes(data[place : place + 4], "big")
        yield data[place + 4 : place + 8], data[place + 8 : stop]
        place = stop


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_containers_are_whole_after_a_change(targets: Targets) -> None:
    for ending, _, seeds in targets.values():
        for seed in seeds:
            for draw in range(12):
                held(mutated(seed, 1 << 20, draw, ending, lambda data, _: data), ending)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["poses-coco", "poses-npz", "models-model", "models-shard"])
def test_changes_reach_what_a_container_holds(targets: Targets, name: str) -> None:
    ending, _, seeds = targets[name]
    made = {mutated(seeds[0], 1 << 20, draw, ending, lambda data, _: data) for draw in range(40)}
    assert len(made) > 5


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".json", ".png", ".mat", ".arrow", ""])
def test_damaged_containers_are_changed_plainly(ending: str) -> None:
    draw = random.Random(0)
    for seed in range(20):
        data = b"PK" * (seed % 2) + draw.randbytes(40)
        assert mutated(data, 50, seed, ending, lambda data, _: data + b"!")[:50] == data + b"!"


@pytest.mark.parametrize("ending", [".ply", ".obj", ".csv", ".yaml", ".xml", ".json", ".pkl", ""])
def test_dictionaries_are_what_the_fuzzer_reads(ending: str) -> None:
    lines = dictionary(ending).splitlines()
    assert lines
    assert all(re.fullmatch(r'"(\\x[0-9a-f]{2})+"', line) for line in lines)
