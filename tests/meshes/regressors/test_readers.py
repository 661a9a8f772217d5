"""Files of other regressors: every usual form of their arrays, and nothing that may run code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foreign_bodies import FLIP, Foreign, foreign_bodies, smpl_export
from meshes import read_sam3d_body, read_smpl_bodies
from meshes.regressors.readers import MHR_POINTS, sam3d_bodies, smpl_bodies
from meshes.rotation import matrix_to_axis_angle

SIZE = (256, 128)


@pytest.fixture(scope="module")
def foreign() -> Foreign:
    return foreign_bodies(2)


def save(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez(path, **{name: np.asarray(value) for name, value in arrays.items()})
    return path


def test_all_forms_of_rotations_are_one(foreign: Foreign, tmp_path: Path) -> None:
    arrays = smpl_export(foreign)
    vectors = smpl_export(foreign, matrices=False)
    forms = {
        "matrices": {},
        "vectors": {name: vectors[name] for name in ("global_orient", "body_pose")},
        "flat": {
            "global_orient": vectors["global_orient"][:, 0],
            "body_pose": vectors["body_pose"].flatten(1),
        },
        "root": {"global_orient": arrays["global_orient"][:, 0]},
    }
    for name, changes in forms.items():
        path = save(tmp_path / f"{name}.npz", {**arrays, **changes, "names": ["a.jpg", "b.jpg"]})
        bodies = read_smpl_bodies(path, SIZE)
        assert bodies.names == ("a.jpg", "b.jpg")
        assert bodies.rotations is not None
        assert (bodies.rotations - foreign.rotations).abs().max() < 1e-5, name
        assert (bodies.points - foreign.posed.joints).abs().max() < 1e-6
        assert bodies.of_image("b.jpg").points.equal(bodies.points[1:])
    with pytest.raises(ValueError, match=r"got 'c.jpg' \(a.jpg, b.jpg\)"):
        bodies.of_image("c.jpg")
    # Of one person, without the axis of the batch.
    one = {name: value[0] for name, value in arrays.items() if name != "betas"}
    assert (smpl_bodies(one, SIZE).points - bodies.points[:1]).abs().max() < 1e-6


def test_theta_of_hmr(foreign: Foreign) -> None:
    arrays = smpl_export(foreign)
    vectors = matrix_to_axis_angle(torch.cat([arrays["global_orient"], arrays["body_pose"]], 1))
    theta = torch.cat([arrays["pred_cam"], vectors.flatten(1), arrays["betas"]], 1)
    bodies = smpl_bodies({"theta": theta, "joints": arrays["joints"]}, SIZE)
    expected = smpl_bodies(arrays, SIZE)
    assert bodies.rotations is not None
    assert (bodies.rotations - foreign.rotations).abs().max() < 1e-5
    assert (bodies.pixels - expected.pixels).abs().max() < 1e-4
    with pytest.raises(ValueError, match=r"theta must be \(B, 85\)"):
        smpl_bodies({"theta": theta[:, :84]}, SIZE)


def test_cameras_project_as_their_authors_do(foreign: Foreign) -> None:
    arrays = smpl_export(foreign)
    joints = arrays["joints"]
    # Weak perspective of the square around the image: 256 pixels wide, its middle at (64, 128).
    bodies = smpl_bodies(arrays, SIZE)
    x = 64 + 128 * 0.9 * (joints[..., 0] + 0.05)
    y = 128 + 128 * 0.9 * (joints[..., 1] + 0.1)
    assert torch.allclose(bodies.pixels, torch.stack([x, y], -1), atol=1e-3)
    box = {"box_center": torch.tensor([[30.0, 40.0]]), "box_size": torch.tensor([100.0])}
    boxed = smpl_bodies({**arrays, **box}, SIZE)
    x = 30 + 50 * 0.9 * (joints[..., 0] + 0.05)
    assert torch.allclose(boxed.pixels[..., 0], x, atol=1e-3)
    camera = {"cam_t": torch.tensor([[0.1, 0.2, 20.0]] * 2), "focal_length": torch.tensor(1500.0)}
    pinhole = smpl_bodies({**arrays, **camera}, SIZE)
    depth = joints[..., 2] + 20
    x = 64 + 1500 * (joints[..., 0] + 0.1) / depth
    y = 128 + 1500 * (joints[..., 1] + 0.2) / depth
    assert torch.allclose(pinhole.pixels, torch.stack([x, y], -1), atol=1e-3)
    # The two agree for a far camera: scale 2 f / (side z).
    far = {"cam_t": torch.tensor([[0.05, 0.1, 1e4]] * 2), "focal_length": torch.tensor(1.152e6)}
    same = smpl_bodies({**arrays, **far}, SIZE)
    assert (same.pixels - bodies.pixels).abs().max() < 0.05


def test_keypoints_of_mhr(foreign: Foreign, tmp_path: Path) -> None:
    points = torch.randn(2, 70, 3, generator=torch.Generator().manual_seed(0))
    arrays = {"pred_keypoints_3d": points, "pred_keypoints_2d": points[..., :2] * 9}
    path = save(tmp_path / "mhr.npz", {**arrays, "pred_vertices": np.zeros((2, 18439, 3))})
    bodies = read_sam3d_body(path)
    assert bodies.rotations is None
    assert bodies.vertices is not None
    assert bodies.vertices.shape == (2, 18439, 3)
    assert len(bodies.point_names) == len(set(bodies.point_names)) == len(MHR_POINTS) == 24
    for name, index in (("nose", 0), ("left_shoulder", 5), ("right_wrist", 41), ("neck", 69)):
        place = bodies.points[:, bodies.point_names.index(name)]
        assert torch.equal(place, points[:, index] * FLIP)
    assert torch.equal(sam3d_bodies({k: v[0] for k, v in arrays.items()}).points, bodies.points[:1])
    with pytest.raises(ValueError, match="it lacks pred_keypoints_2d"):
        read_sam3d_body(save(tmp_path / "x.npz", {"pred_keypoints_3d": points}))
    with pytest.raises(ValueError, match=r"pred_keypoints_3d must be \(\*, 70, 3\)"):
        sam3d_bodies({**arrays, "pred_keypoints_3d": points[:, :17]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"global_orient": None}, "must hold global_orient, or theta"),
        ({"pred_cam": None}, "must hold a camera"),
        ({"pred_cam": torch.tensor([[-1.0, 0, 0]] * 2)}, "scales above 0"),
        ({"body_pose": torch.zeros(2, 22, 3)}, r"body_pose must be \(B, 69\)"),
        ({"body_pose": 2 * torch.eye(3).expand(2, 23, 3, 3)}, "some are not orthogonal"),
        ({"body_pose": torch.zeros(3, 69)}, "equally many bodies; got 2 and 3"),
        ({"joints": torch.zeros(2, 17, 3)}, "joints must be"),
        ({"joints": None}, "joints must be given with vertices"),
        ({"vertices": torch.zeros(2, 3)}, "vertices must be"),
        ({"joints": torch.full((2, 24, 3), torch.nan)}, "joints must be finite"),
        ({"box_size": torch.ones(2)}, "given together"),
        (
            {"cam_t": torch.zeros(2, 3), "focal_length": torch.ones(1)},
            "before the camera",
        ),
    ],
)
def test_wrong_arrays_are_named(foreign: Foreign, change: dict[str, Any], message: str) -> None:
    arrays = {**smpl_export(foreign), **change}
    with pytest.raises(ValueError, match=message):
        smpl_bodies({name: value for name, value in arrays.items() if value is not None}, SIZE)


class Malicious:
    """Pickle that would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_pickles_are_refused_and_not_run(foreign: Foreign, tmp_path: Path) -> None:
    made = tmp_path / "made"
    path = tmp_path / "bodies.pkl"
    path.write_bytes(pickle.dumps({"global_orient": Malicious(made)}))
    disguised = tmp_path / "bodies.npz"
    disguised.write_bytes(path.read_bytes())
    packed = tmp_path / "packed.npz"
    objects = np.empty(1, object)
    objects[0] = Malicious(made)
    np.savez(packed, global_orient=objects, body_pose=np.zeros((1, 69)))
    for each in (path, disguised, packed):
        with pytest.raises(ValueError, match=each.name):
            read_smpl_bodies(each, SIZE)
    # As the file of the source model, too.
    arrays = save(tmp_path / "good.npz", {k: v.numpy() for k, v in smpl_export(foreign).items()})
    with pytest.raises(ValueError, match=r"bodies\.pkl.*refused"):
        read_smpl_bodies(arrays, SIZE, path)
    assert not made.exists()
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_smpl_bodies(tmp_path / "none.npz", SIZE)
    text = save(tmp_path / "text.npz", {"global_orient": ["a"], "body_pose": np.zeros((1, 69))})
    with pytest.raises(ValueError, match="must hold numbers; global_orient holds text"):
        read_smpl_bodies(text, SIZE)
