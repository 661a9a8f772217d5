import sys
from pathlib import Path

import pytest
import torch

from meshes.fitting import pose_prior
from meshes.fitting.pose_prior import PosePrior, load_pose_prior, mirrored
from meshes.rotation import axis_angle_to_matrix, matrix_to_axis_angle

sys.path.insert(0, str(Path(__file__).parents[3] / "tools"))


def test_the_prior_is_its_own_mirror_image():
    prior = load_pose_prior()
    vectors = matrix_to_axis_angle(prior.mean)
    torch.testing.assert_close(mirrored(vectors), vectors, atol=1e-6, rtol=0)
    generator = torch.Generator().manual_seed(0)
    pose = torch.randn(20, 24, 3, generator=generator, dtype=torch.float64) * 0.3
    distance, other = (
        (each[:, 1:].flatten(1) @ prior.root).square().sum(1) for each in (pose, mirrored(pose))
    )
    torch.testing.assert_close(other, distance, rtol=2e-3, atol=0)


def test_its_mean_stands_with_hanging_arms(body):
    posed = body.pose(load_pose_prior().mean[None].float(), torch.zeros(1, 10)).joints[0]
    for side in ("left", "right"):
        hip, ankle = posed[body.joint(f"{side}_hip")], posed[body.joint(f"{side}_ankle")]
        assert hip[1] - ankle[1] > 0.75
        assert posed[body.joint(f"{side}_wrist"), 1] < posed[body.joint(f"{side}_elbow"), 1]


def test_the_tool_recovers_a_gaussian():
    """Spread of drawn rotations plus the floors of the tool."""
    from pose_prior import _FLOORS, fit_prior

    generator = torch.Generator().manual_seed(1)
    vectors = torch.zeros(4000, 24, 3)
    vectors[:, 4:6, 0] = 0.3 * torch.randn(4000, 2, generator=generator)
    mean, root = fit_prior(axis_angle_to_matrix(vectors))
    spread = torch.linalg.inv(root @ root.T)
    assert float(mean.abs().max()) < 0.02
    knee = 3 * (4 - 1)
    assert float(spread[knee, knee]) == pytest.approx(0.09 + _FLOORS["knee"] ** 2, rel=0.08)
    assert float(spread[knee + 1, knee + 1]) == pytest.approx(_FLOORS["knee"] ** 2, rel=0.02)


def test_damaged_priors_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="root"):
        PosePrior(torch.eye(3).expand(24, 3, 3), torch.eye(3))
    path = tmp_path / "pose_prior.npz"
    path.write_bytes(b"PK\x03\x04 no archive")
    monkeypatch.setattr(pose_prior, "FILE", path)
    with pytest.raises(ValueError, match="prior of poses"):
        pose_prior._read()
