"""CachedPose: what is kept, and what is never taken for it."""

import io
import json
import warnings
import zipfile

import numpy as np
import pytest
import torch

from pose import CachedPose, Keypoints, MediapipePose, Pose, PoseEstimator


class Counting:
    """An estimator that says something about the pixels, and counts its calls."""

    def __init__(self, threshold=0.5, others=True):
        self.calls, self.others = 0, others
        self.settings = {"model": "counting", "threshold": threshold}

    def __call__(self, image):
        self.calls += 1
        value = float(image.mean()) / 255
        one = Keypoints(torch.full((17, 2), 100 * value), torch.full((17,), value))
        mask = torch.full(image.shape[:2], value)
        return Pose(one, mask, Keypoints.stack([one, one]) if self.others else None)


def picture(value, shape=(20, 10, 3)):
    return np.full(shape, value, np.uint8)


def same(a, b):
    assert torch.equal(a.keypoints.xy, b.keypoints.xy)
    assert torch.equal(a.keypoints.score, b.keypoints.score)
    assert torch.equal(a.keypoints.visibility, b.keypoints.visibility)
    assert a.keypoints.names == b.keypoints.names
    assert (a.mask is None) == (b.mask is None)
    assert a.mask is None or torch.equal(a.mask, b.mask)
    assert (a.others is None) == (b.others is None)
    assert a.others is None or torch.equal(a.others.xy, b.others.xy)


@pytest.mark.parametrize("others", [True, False])
def test_a_cached_pose_equals_the_first_one(tmp_path, others):
    estimator = Counting(others=others)
    cached = CachedPose(estimator, tmp_path)
    assert isinstance(cached, PoseEstimator)
    first = cached(picture(77))
    same(first, cached(picture(77)))
    same(first, CachedPose(Counting(), tmp_path)(picture(77)))
    assert estimator.calls == 1
    assert torch.allclose(first.mask, estimator(picture(77)).mask, atol=0.5 / 255)


def test_batches_estimate_each_new_image_once(tmp_path):
    estimator = Counting()
    cached = CachedPose(estimator, tmp_path)
    cached(picture(1))
    images = [picture(each) for each in (3, 1, 2, 3)]
    found = cached.batch(images)
    assert estimator.calls == 3
    assert [round(float(each.keypoints.xy[0, 0]), 3) for each in found] == [
        1.176,
        0.392,
        0.784,
        1.176,
    ]
    for pose, image in zip(found, images, strict=True):
        same(pose, cached(image))


def test_images_of_the_same_bytes_but_another_shape_differ(tmp_path):
    cached = CachedPose(Counting(), tmp_path)
    assert cached(picture(9, (20, 10, 3))).mask.shape == (20, 10)
    assert cached(picture(9, (10, 20, 3))).mask.shape == (10, 20)


def test_entries_of_other_settings_are_not_read(tmp_path):
    CachedPose(Counting(0.5), tmp_path)(picture(5))
    other = Counting(0.4)
    CachedPose(other, tmp_path)(picture(5))
    assert other.calls == 1
    reported = [json.loads((p / "estimator.json").read_text()) for p in tmp_path.iterdir()]
    assert sorted(each["threshold"] for each in reported) == [0.4, 0.5]
    assert all(each["model"] == "counting" for each in reported)


def test_an_entry_that_names_other_settings_is_made_anew(tmp_path):
    """As when someone moves files, or two settings had one hash."""
    ours, theirs = CachedPose(Counting(0.5), tmp_path), CachedPose(Counting(0.4), tmp_path)
    theirs(picture(5))
    theirs.folder.rename(ours.folder)
    ours(picture(5))
    assert ours.estimator.calls == 1


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", None])
def test_damaged_entries_are_made_anew(tmp_path, damage):
    cached = CachedPose(Counting(), tmp_path)
    first = cached(picture(5))
    (entry,) = tmp_path.rglob("*.npz")
    entry.write_bytes(entry.read_bytes()[:200] if damage is None else damage)
    same(first, cached(picture(5)))
    assert cached.estimator.calls == 2
    same(first, cached(picture(5)))
    assert cached.estimator.calls == 2


def test_arrays_of_impossible_sizes_or_text_are_made_anew(tmp_path):
    """Errors of other kinds in numpy: MemoryError, OverflowError, SystemError."""
    cached = CachedPose(Counting(), tmp_path)
    first = cached(picture(5))
    (entry,) = tmp_path.rglob("*.npz")
    sound = entry.read_bytes()
    with zipfile.ZipFile(entry) as file:
        names = file.namelist()
    assert {"xy.npy", "names.npy", "settings.npy"} <= set(names)
    for member, kind, shape in (
        ("xy.npy", "<f4", "(99999999999, 2)"),
        ("xy.npy", "<f4", "(9999999999999999999999, 2)"),
        ("names.npy", "<U1", "(17,)"),
        ("settings.npy", "<U1", "()"),
    ):
        entry.write_bytes(with_member(sound, member, npy(kind, shape, b"\xff" * 68)))
        same(first, cached(picture(5)))


def test_an_entry_of_zeros_is_not_unpacked(tmp_path, monkeypatch):
    cached = CachedPose(Counting(), tmp_path)
    first = cached(picture(5))
    (entry,) = tmp_path.rglob("*.npz")
    zeros = npy("|u1", "(300000000,)", bytes(300_000_000))
    entry.write_bytes(with_member(entry.read_bytes(), "mask.npy", zeros))
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda *_: pytest.fail("unpacked"))
    same(first, cached(picture(5)))


def npy(kind, shape, numbers):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + numbers


def with_member(archive, member, content):
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(made, "w", 8) as new:
        for name in {*old.namelist(), member}:
            new.writestr(name, content if name == member else old.read(name))
    return made.getvalue()


def test_an_unreadable_folder_is_refused_before_the_work(tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    cached = CachedPose(Counting(), tmp_path)
    monkeypatch.setattr("pose.estimators.cache.read_npz_arrays", forbidden)
    with pytest.raises(PermissionError):
        cached(picture(5))
    assert cached.estimator.calls == 0


def test_a_pickle_in_an_entry_is_not_read(tmp_path):
    cached = CachedPose(Counting(), tmp_path)
    cached(picture(5))
    (entry,) = tmp_path.rglob("*.npz")
    with entry.open("wb") as file:
        np.savez(file, settings=np.array(cached._text), names=np.array([{}], dtype=object))
    cached(picture(5))
    assert cached.estimator.calls == 2


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez_compressed", full)
    with pytest.raises(OSError, match="No space"):
        CachedPose(Counting(), tmp_path)(picture(5))
    assert not list(tmp_path.rglob("*.npz"))
    assert not list(tmp_path.rglob("*.partial"))


def test_settings_must_be_given_and_plain(tmp_path):
    with pytest.raises(ValueError, match="settings must be given"):
        CachedPose(lambda image: Pose(Keypoints.none()), tmp_path)
    with pytest.raises(ValueError, match="plain values"):
        CachedPose(Counting(), tmp_path, {"a": object()})
    plain = CachedPose(lambda image: Pose(Keypoints.none()), tmp_path, {"model": "none"})
    assert not plain(picture(1)).found
    assert not plain(picture(1)).found


def test_mediapipe_settings_hold_its_thresholds():
    pytest.importorskip("mediapipe")
    assert MediapipePose(0.3).settings["min_confidence"] == 0.3
    assert MediapipePose(0.3).settings != MediapipePose(0.4).settings


def test_a_read_only_folder_serves_its_entries(tmp_path, monkeypatch):
    cached = CachedPose(Counting(), tmp_path)
    first = cached(picture(5))

    def refuse(*_):
        raise OSError(30, "Read-only file system", str(tmp_path))

    monkeypatch.setattr(CachedPose, "_write", refuse)
    with pytest.warns(UserWarning, match="can be read only: what is estimated now is not kept"):
        cached(picture(6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cached(picture(7))
    assert torch.equal(cached(picture(5)).keypoints.xy, first.keypoints.xy)
    assert cached.estimator.calls == 3
