"""Worker processes of long jobs end with the process that started them."""

import numpy as np
import pytest

from worker_processes import workers_left

LIFT = """
import multiprocessing, os, signal, sys
from pathlib import Path
import numpy as np, torch
from og_reid.data.clouds import lift_dataset as lifting
from og_reid.data.sample import Sample
from pose import COCO_17, Keypoints, Pose

class NoPerson:
    def __call__(self, image):
        return Pose(Keypoints.none(COCO_17))

def progress(done, total):
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    photo = Path(sys.argv[1])
    samples = [Sample(photo, 0, 1)] * 70
    lifting.lift_dataset(samples, estimator=NoPerson, workers=2, progress=progress)
"""

WORLD = """
import multiprocessing, os, signal, sys
from meshes.world import write_world

def progress(done, total):
    if done:
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    write_world(sys.argv[1], train_identities=3, test_identities=2, views=2, cameras=2, seed=0,
                workers=2, progress=progress)
"""


@pytest.mark.parametrize("job", ["lift", "world"])
def test_workers_end_with_a_killed_parent(tmp_path, job):
    from PIL import Image

    photo, script = tmp_path / "0000_c1s1_000001_00.png", tmp_path / "script.py"
    Image.fromarray(np.full((64, 32, 3), 90, np.uint8)).save(photo)
    script.write_text(LIFT if job == "lift" else WORLD)
    count, left = workers_left(script, photo if job == "lift" else tmp_path / "world")
    assert (count, left) == (2, 0)
