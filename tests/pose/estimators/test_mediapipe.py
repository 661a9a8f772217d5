"""MediapipePose on a public-domain image."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from pose import COCO_17_FEET, MediapipePose, PoseEstimator
from pose.estimators.mediapipe import visibility_from_raw
from pose.estimators.native_graph import _QUIET_ENV


def test_visibility_map_is_increasing_and_separates_the_three_states():
    raw = torch.linspace(0, 1, 101)
    mapped = visibility_from_raw(raw)
    assert (mapped.diff() > 0).all()
    assert ((mapped >= 0) & (mapped <= 1)).all()
    seen, self_hidden, hidden = visibility_from_raw(torch.tensor([0.94, 0.76, 0.63]))
    assert seen > 0.9
    assert 0.1 < self_hidden < 0.3
    assert hidden < 0.05


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 32), np.uint8),
        np.zeros((64, 32, 4), np.uint8),
        np.zeros((64, 32, 3), np.float32),
        np.zeros((0, 32, 3), np.uint8),
    ],
)
def test_bad_images_are_refused(image):
    with pytest.raises(ValueError, match="read_image"):
        MediapipePose()(image)


def test_bad_threshold_is_refused():
    with pytest.raises(ValueError, match="min_confidence"):
        MediapipePose(1.5)


def test_a_missing_mediapipe_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(ImportError, match=r"og-reid\[demo\]"):
        MediapipePose()(np.zeros((64, 32, 3), np.uint8))


@pytest.fixture(scope="module")
def estimator():
    pytest.importorskip("mediapipe")
    with MediapipePose() as estimator:
        yield estimator


@pytest.fixture(scope="module")
def astronaut():
    return pytest.importorskip("skimage.data").astronaut()  # 512 x 512, cut at the chest


@pytest.fixture(scope="module")
def astronaut_pose(estimator, astronaut):
    return estimator(astronaut)


def by_name(keypoints, name):
    return keypoints.select([name])


def test_the_person_of_a_portrait_is_found(estimator, astronaut_pose):
    assert isinstance(estimator, PoseEstimator)
    keypoints = astronaut_pose.keypoints
    assert astronaut_pose.found
    assert keypoints.names == COCO_17_FEET
    x, y = by_name(keypoints, "nose").xy[0].tolist()
    assert 190 < x < 260  # face: columns 165-275, rows 65-190
    assert 100 < y < 160
    face = keypoints.select(["nose", "left_eye", "right_eye", "left_shoulder"])
    assert (face.visibility > 0.9).all()
    # Her left side is on the right of the image.
    assert (
        by_name(keypoints, "left_shoulder").xy[0, 0] > by_name(keypoints, "right_shoulder").xy[0, 0]
    )


def test_joints_outside_the_image_are_not_visible(astronaut_pose):
    legs = astronaut_pose.keypoints.select(
        [n for n in COCO_17_FEET if n.split("_")[-1] in ("hip", "knee", "ankle", "heel", "toe")]
    )
    assert (legs.visibility < 0.05).all()
    below = legs.xy[:, 1] > 512
    assert below.any()
    assert (legs.visibility[below] == 0).all()


def test_world_is_y_up_and_z_towards_the_camera(astronaut_pose):
    keypoints = astronaut_pose.keypoints
    assert keypoints.xyz is not None
    nose, ear, left, right = keypoints.select(
        ["nose", "left_ear", "left_shoulder", "right_shoulder"]
    ).xyz
    assert nose[1] > left[1]  # the head is above the shoulders
    assert nose[2] > ear[2] + 0.03  # she faces the camera
    assert left[0] > right[0]
    hips = keypoints.select(["left_hip", "right_hip"]).xyz.mean(0)
    assert hips.norm() < 0.02


def test_mask_lies_on_the_person(astronaut, astronaut_pose):
    mask = astronaut_pose.mask
    assert mask is not None
    assert mask.shape == astronaut.shape[:2]
    assert mask[130, 225] > 0.9  # face
    assert mask[400, 225] > 0.9  # chest
    assert mask[20, 20] < 0.1


def test_blank_image_gives_no_person(estimator):
    blank = estimator(np.full((128, 64, 3), 127, np.uint8))
    assert not blank.found
    assert blank.keypoints.names == COCO_17_FEET
    assert not blank.keypoints.visibility.any()
    assert blank.mask is not None
    assert blank.mask.shape == (128, 64)
    assert not blank.mask.any()


def test_results_do_not_depend_on_earlier_images(estimator, astronaut, astronaut_pose):
    estimator(astronaut[::-1])
    again = estimator(astronaut)
    assert torch.equal(again.keypoints.xy, astronaut_pose.keypoints.xy)
    assert torch.equal(again.mask, astronaut_pose.mask)


def test_keypoints_follow_the_image_size(estimator, astronaut, astronaut_pose):
    upper = slice(0, 11)
    half = estimator(np.ascontiguousarray(astronaut[::2, ::2])).keypoints
    scaled = half.xy[upper] * 2 - astronaut_pose.keypoints.xy[upper]
    assert scaled.norm(dim=-1).median() < 8


def test_a_small_person_in_a_wide_image(estimator, astronaut, astronaut_pose):
    wide = np.full((512, 1500, 3), 127, np.uint8)
    wide[:, 700:1212] = astronaut
    pose = estimator(wide)
    assert pose.mask.shape == (512, 1500)
    shift = pose.keypoints.xy[0] - astronaut_pose.keypoints.xy[0]
    assert (shift - torch.tensor([700.0, 0.0])).norm() < 15


def test_pickle_leaves_the_model_out(estimator, astronaut, astronaut_pose):
    with pickle.loads(pickle.dumps(estimator)) as copy:
        assert copy._graph.model is None
        assert torch.equal(copy(astronaut).keypoints.xy, astronaut_pose.keypoints.xy)
        copy.close()
        assert torch.equal(copy(astronaut).keypoints.xy, astronaut_pose.keypoints.xy)


def test_native_logs_are_silenced_and_the_environment_restored():
    pytest.importorskip("mediapipe")
    program = (
        "import os, sys, numpy as np\n"
        "from pose import MediapipePose\n"
        "assert 'mediapipe' not in sys.modules\n"
        "MediapipePose()(np.zeros((64, 32, 3), np.uint8))\n"
        "assert not {'GLOG_minloglevel', 'TF_CPP_MIN_LOG_LEVEL'} & set(os.environ)\n"
        "print('still heard', file=sys.stderr)\n"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    clean = {k: v for k, v in os.environ.items() if k not in _QUIET_ENV}
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**clean, "PYTHONPATH": path},
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.strip() == "still heard"
    assert result.stdout == ""


def test_lines_of_other_threads_are_written_when_the_model_is_loaded():
    pytest.importorskip("mediapipe")
    program = (
        "import os, subprocess, sys, threading, time, numpy as np\n"
        "from pose import MediapipePose\n"
        "done = threading.Event()\n"
        "def write():\n"
        "    number = 0\n"
        "    while not done.wait(0.01):\n"
        "        print('line', number, file=sys.stderr, flush=True)\n"
        "        number += 1\n"
        "    print(number)\n"
        "thread = threading.Thread(target=write)\n"
        "thread.start()\n"
        "MediapipePose()(np.zeros((64, 32, 3), np.uint8))\n"
        "done.set()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    count = int(result.stdout)
    assert count > 10
    assert result.stderr.splitlines() == [f"line {number}" for number in range(count)]
