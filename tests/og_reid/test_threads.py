"""Lifting from many threads equals lifting one image after the other."""

import pytest

from interpreter import run_python

pytest.importorskip("mediapipe")
pytest.importorskip("skimage")

IMAGES = """
import asyncio, sys, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np, torch
import og_reid
from pose import CachedPose, MediapipePose, NoPersonError
from skimage.data import astronaut

torch.set_num_threads(1)
whole = astronaut()[::4, ::4]
images = [
    np.ascontiguousarray(each)
    for each in (whole, whole[:, ::-1], whole[:, 15:115], whole[:96], whole[::2, ::2],
                 np.full((64, 32, 3), 127, np.uint8), whole[5:, 20:], whole[:, ::-1][:110])
]

def lift(image):
    try:
        return og_reid.lift(image)
    except NoPersonError:
        return None

def equal(got, expected):
    assert (got is None) == (expected is None)
    if got is not None:
        assert got.points.shape == expected.points.shape
        assert torch.allclose(got.points, expected.points, atol=1e-5, rtol=0)
        assert torch.equal(got.colors, expected.colors)

def estimate_equal(got, expected):
    assert torch.allclose(got.keypoints.xy, expected.keypoints.xy, atol=0.1, rtol=0)
    assert torch.allclose(got.mask, expected.mask, atol=3e-3, rtol=0)  # kept to 1/255
"""

REPEATED = """
expected = list(map(lift, images))
assert sum(each is not None for each in expected) == 7
for _ in range(20):
    with ThreadPoolExecutor(8) as pool:
        for each in zip(pool.map(lift, images), expected):
            equal(*each)
print("equal")
"""

FIRST_CALLS = """
start = threading.Barrier(8)

def first(image):
    start.wait()
    return lift(image)

with ThreadPoolExecutor(8) as pool:
    together = list(pool.map(first, images))
for each in zip(together, map(lift, images)):
    equal(*each)
print("equal")
"""

SERVER = """
async def serve():
    return await asyncio.gather(*(asyncio.to_thread(lift, image) for image in images))

served = asyncio.run(serve())
for each in zip(served, map(lift, images)):
    equal(*each)
clouds = [each for each in served if each is not None]

async def embed():
    return await asyncio.gather(*(asyncio.to_thread(og_reid.embed, cloud) for cloud in clouds))

for got, cloud in zip(asyncio.run(embed()), clouds):
    assert torch.allclose(got, og_reid.embed(cloud), atol=1e-5, rtol=0)
print("equal")
"""

SHARED = """
with MediapipePose() as shared, MediapipePose() as other:
    expected = list(map(shared, images))
    cached = CachedPose(shared, sys.argv[1])
    turns = [(find, number) for find in (shared, other, cached) for number in range(8)] * 2
    with ThreadPoolExecutor(8) as pool:
        for (_, number), got in zip(turns, pool.map(lambda t: t[0](images[t[1]]), turns)):
            estimate_equal(got, expected[number])
print("equal")
"""

AFTER_AN_ERROR = """
find = MediapipePose()
expected = find(images[0])

class Broken:
    def process(self, image):
        raise RuntimeError("graph has errors")
    def close(self):
        raise ValueError("graph has errors")

find._graph.model = Broken()
try:
    find(images[0])
    raise SystemExit("no error")
except RuntimeError as error:
    assert "graph has errors" in str(error)
estimate_equal(find(images[0]), expected)
print("equal")
"""


PROGRAMS = {"repeated": REPEATED, "server": SERVER, "after an error": AFTER_AN_ERROR}


@pytest.mark.parametrize("program", PROGRAMS)
def test_threads_equal_serial(program):
    done = run_python(IMAGES + PROGRAMS[program], seconds=240, OMP_NUM_THREADS="1")
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr


@pytest.mark.parametrize("turn", range(2))
def test_first_calls_together_equal_serial(turn):
    done = run_python(IMAGES + FIRST_CALLS, seconds=120, OMP_NUM_THREADS="1")
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr


def test_estimators_and_a_cache_shared_by_threads_equal_serial(tmp_path):
    done = run_python(IMAGES + SHARED, str(tmp_path), seconds=120, OMP_NUM_THREADS="1")
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr
