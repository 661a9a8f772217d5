"""The strict reader of the authors' files on crafted and far clouds."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from og_reid.data.clouds.market3d_obj import read_obj


def test_a_face_of_many_numbers_and_a_wrong_end_is_refused_at_once(tmp_path):
    path = tmp_path / "a.obj"
    path.write_bytes(b"v 1 2 3 0 0 0\nf" + b" 123456" * 4000 + b" x\n")
    start = time.process_time()
    with pytest.raises(ValueError, match="must end in a whole face line"):
        read_obj(path, expected=None)
    assert time.process_time() - start < 1


def test_underscores_are_no_digits(tmp_path):
    path = tmp_path / "a.obj"
    path.write_bytes(b"v 1_0 2 3 0 0 0\nf 1 1 1\n")
    with pytest.raises(ValueError, match=r"line 1 must be .* got 'v 1_0"):
        read_obj(path, expected=None)


def test_pipes_are_no_clouds(tmp_path):
    os.mkfifo(tmp_path / "pipe.obj")
    with pytest.raises(ValueError, match=r"pipe\.obj: must be a regular file"):
        read_obj(tmp_path / "pipe.obj")


def test_national_grids_are_centred_before_they_are_rounded(tmp_path):
    place = np.random.default_rng(0).uniform(-1, 1, (9, 3)) + np.array([4.5e5, 5.4e6, 300])
    path = tmp_path / "a.obj"
    rows = (" ".join(f"{value:.6f}" for value in row) for row in place)
    path.write_text("".join(f"v {row} 0 0 0\n" for row in rows) + "f 1 2 3\n")
    found = read_obj(path, expected=None).points.numpy()
    np.testing.assert_allclose(found, place - place.mean(0), atol=2e-6)


def test_files_of_other_writers_are_refused_with_the_general_reader(tmp_path):
    path = tmp_path / "a.obj"
    path.write_bytes(b"# https://trimesh.org\nv 1 2 3 0 0 0\nf 1 1 1\n")
    with pytest.raises(ValueError, match=r"got '# https://trimesh.org': read .*read_pointcloud"):
        read_obj(path, expected=None)
