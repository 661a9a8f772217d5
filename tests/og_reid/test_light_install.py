"""Without the packages for photographs and 3D windows: what works, and what is said of the rest."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from interpreter import run_python

ROOT = Path(__file__).resolve().parents[2]
BLOCKED = (
    "open3d", "trimesh", "torch_geometric", "PIL", "scipy", "rich", "mediapipe", "matplotlib",
    "skimage", "cv2", "pyarrow", "torchvision", "sklearn",
)  # fmt: skip
START = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED!r}))\n"
CLOUD = (
    "import numpy as np, og_reid, meshes\n"
    "rng = np.random.default_rng(0)\n"
    "points = rng.normal(0, [0.2, 0.5, 0.1], (500, 3))\n"
    "array = np.concatenate([points, rng.random((500, 3))], 1).astype(np.float32)\n"
)


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def run(code: str, *arguments: str) -> str:
    done = run_python(START + code, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_array_is_embedded() -> None:
    assert run(CLOUD + "print(tuple(og_reid.embed(array).shape))") == "(512,)"


@pytest.mark.parametrize("ending", [".npz", ".obj"])
def test_a_file_is_written_and_embedded(tmp_path: Path, ending: str) -> None:
    code = (
        "path = sys.argv[1]\n"
        "meshes.write_pointcloud(path, meshes.PointCloud.from_array(array))\n"
        "print(tuple(og_reid.embed(path).shape))"
    )
    assert run(CLOUD + code, str(tmp_path / f"cloud{ending}")) == "(512,)"


def test_a_ranking_is_scored() -> None:
    code = (
        "import torch\n"
        "found = og_reid.evaluate(torch.eye(2), torch.eye(2), query_pids=[1, 2], "
        "gallery_pids=[1, 2])\n"
        "print(found.mAP)"
    )
    assert run("import og_reid\n" + code) == "1.0"


@pytest.mark.parametrize(
    ("call", "package"), [("cloud.to_open3d()", "open3d"), ("cloud.to_pyg()", "torch_geometric")]
)
def test_what_lacks_a_package_says_which(call: str, package: str) -> None:
    code = (
        "cloud = meshes.PointCloud.from_array(array)\n"
        f"try: {call}\n"
        "except ImportError as error: print(error)"
    )
    assert package in run(CLOUD + code)


def test_the_light_pins_are_those_that_were_tested_together() -> None:
    light, all_of_them = pins("requirements-light.txt"), pins("constraints.txt")
    assert light
    assert light.items() <= all_of_them.items()


def test_the_least_trimesh_reads_no_files_that_a_cloud_names() -> None:
    """5.0 restricts what a file may name to its own folder; earlier ones open any path."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (least,) = [
        re.sub(r".*>=", "", each) for each in project["dependencies"] if each.startswith("trimesh")
    ]
    assert int(least.split(".")[0]) >= 5


def test_an_installation_without_extras_brings_nothing_for_windows_or_drawing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"[^\w.-]", each)[0] for each in project["dependencies"]}
    assert {"torch", "open3d", "trimesh", "torch-geometric"} <= names
    assert not names & {"matplotlib", "mediapipe", "scikit-image", "opencv-python", "torchvision"}


def test_the_command_embeds_clouds(tmp_path: Path) -> None:
    code = (
        "import os; from og_reid.cli import main\n"
        "os.chdir(sys.argv[1])\n"
        "meshes.write_pointcloud('a.npz', meshes.PointCloud.from_array(array))\n"
        "print(main(['embed', 'a.npz', '--cache', 'cache']))"
    )
    assert run(CLOUD + code, str(tmp_path)).splitlines()[-1] == "0"


def test_a_lift_says_what_it_lacks() -> None:
    code = (
        "try: og_reid.lift(np.zeros((128, 64, 3), np.uint8))\n"
        "except ImportError as error: print(error)"
    )
    assert "og-reid[demo]" in run(CLOUD + code)
