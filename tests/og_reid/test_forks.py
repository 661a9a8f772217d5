"""Forked children: what would wait for threads of the parent is refused, the rest computes."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from interpreter import run_python
from meshes import PointCloud
from og_reid.data import CloudSet, ImageSet
from og_reid.data.sample import Sample

IN_CHILD = """
import os, signal, sys, time
import numpy as np, torch
import og_reid
from og_reid import ops
from pose import MediapipePose

torch.set_num_threads(4)
points = torch.rand(8, 3000, 3, generator=torch.Generator().manual_seed(0))
features = torch.rand(8, 1500, 48, generator=torch.Generator().manual_seed(0))

def in_child(work):
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # kills it
        try:
            work()
        except BaseException as error:
            print(error, flush=True)
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

OPERATORS = {
    "knn of points": "ops.knn(points, 8)",
    "knn of features": "ops.knn(features, 8)",
    "ball_query": "ops.ball_query(points, points[:, :500].contiguous(), [0.2], [8])",
    "farthest points": "ops.farthest_point_sample(points, 300)",
    "torch": "features @ features.mT",
    "embed": "og_reid.embed(torch.cat([points[0], points[1]], 1))",
}


@pytest.mark.parametrize("call", OPERATORS)
def test_operators_compute_in_a_child(call):
    work = f"work = lambda: {OPERATORS[call]}; work(); in_child(work)"
    done = run_python(IN_CHILD + work, seconds=120)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


LIFT = """
image = np.full((64, 32, 3), 127, np.uint8)

def lift():
    start = time.monotonic()
    try:
        og_reid.lift(image)
    finally:
        assert time.monotonic() - start < 5, "slow"

def fresh():
    MediapipePose()(image)
"""
RUN_EXISTS = LIFT + "MediapipePose()(image); in_child(lift); in_child(fresh)"
UNUSED = LIFT + "in_child(fresh); MediapipePose()(image)"


def test_lift_in_a_child_of_its_use_names_spawn_at_once():
    pytest.importorskip("mediapipe")
    done = run_python(IN_CHILD + RUN_EXISTS, seconds=120)
    assert done.returncode == 0, done.stderr
    first, code, second, other = done.stdout.splitlines()
    assert (code, other) == ("1", "1")
    for message in (first, second):
        assert 'multiprocessing.get_context("spawn")' in message
        assert 'multiprocessing_context="spawn"' in message


CLOSED = LIFT + "find = MediapipePose(); find(image); in_child(find.close); find(image)"


SPOTS = """
from pose.estimators.people_detector import find_spots
image = np.full((64, 32, 3), 127, np.uint8)

def spots():
    start = time.monotonic()
    try:
        assert find_spots(image) == []
    finally:
        assert time.monotonic() - start < 5, "slow"

"""


@pytest.mark.parametrize("first", ["spots()", "MediapipePose()(image)"])
def test_people_are_not_looked_for_in_a_child_of_native_use(first):
    pytest.importorskip("mediapipe")
    done = run_python(IN_CHILD + SPOTS + f"{first}; in_child(spots); spots()", seconds=120)
    message, code = done.stdout.splitlines()
    assert (done.returncode, code) == (0, "1"), done.stderr
    assert 'multiprocessing.get_context("spawn")' in message


def test_an_estimator_can_be_closed_in_a_child():
    pytest.importorskip("mediapipe")
    done = run_python(IN_CHILD + CLOSED, seconds=120)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_children_may_use_mediapipe_where_the_parent_has_not():
    pytest.importorskip("mediapipe")
    done = run_python(IN_CHILD + UNUSED, seconds=120)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


LOADER = """
import sys
import numpy as np
from pose import MediapipePose
from torch.utils.data import DataLoader

class Lifted:
    def __len__(self):
        return 2
    def __getitem__(self, index):
        import og_reid
        return len(og_reid.lift(np.full((64, 32, 3), 127, np.uint8)))

MediapipePose()(np.full((64, 32, 3), 127, np.uint8))
list(DataLoader(Lifted(), num_workers=1))
"""


def test_lift_in_a_forked_worker_of_a_loader_names_spawn():
    pytest.importorskip("mediapipe")
    done = run_python(LOADER, seconds=120)
    assert done.returncode == 1
    assert 'multiprocessing_context="spawn"' in done.stderr


class Rows(Dataset):
    """Batches of a set, one a row."""

    def __init__(self, batch, count: int) -> None:
        self.batch, self.count = batch, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.batch(row)


def _clouds() -> CloudSet:
    generator = torch.Generator().manual_seed(0)
    clouds = [
        PointCloud(torch.rand(50, 3, generator=generator), torch.rand(50, 3, generator=generator))
        for _ in range(6)
    ]
    return CloudSet.from_clouds((each, n, 1, str(n)) for n, each in enumerate(clouds))


def test_workers_of_a_loader_read_clouds():
    clouds = _clouds()
    rows = Rows(lambda row: clouds.batch(torch.tensor([row]), 40).points[0], len(clouds))
    loaded = list(DataLoader(rows, batch_size=2, num_workers=2, multiprocessing_context="fork"))
    expected = clouds.batch(torch.arange(6), 40).points
    assert torch.equal(torch.cat(loaded), expected)


def test_workers_of_a_loader_read_photographs_with_threads(tmp_path):
    from PIL import Image

    samples = []
    for number in range(4):
        path = tmp_path / f"{number:04d}_c1s1_000001_00.png"
        Image.fromarray(np.full((64, 32, 3), 40 * number, np.uint8)).save(path)
        samples.append(Sample(path, number, 1))
    people = ImageSet(samples, lambda _: None, threads=2)
    expected = people.batch(torch.arange(4)).images
    rows = Rows(lambda row: people.batch(torch.tensor([row])).images[0], 4)
    loaded = list(DataLoader(rows, batch_size=2, num_workers=2, multiprocessing_context="fork"))
    assert torch.equal(torch.cat(loaded), expected)
