import pytest
import torch

from meshes.rotation import axis_angle_to_matrix, matrix_to_axis_angle, skew


def test_quarter_turn_about_y_moves_z_to_x():
    turn = axis_angle_to_matrix(torch.tensor([0.0, torch.pi / 2, 0.0]))
    torch.testing.assert_close(turn @ torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0]))


def test_skew_is_the_cross_product(rng):
    a, b = torch.randn(5, 3, generator=rng), torch.randn(5, 3, generator=rng)
    torch.testing.assert_close((skew(a) @ b[..., None])[..., 0], torch.linalg.cross(a, b))


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-3, 0.5, 3.0, 3.1415, torch.pi])
def test_round_trip_at_any_angle(angle, rng):
    axis = torch.randn(50, 3, generator=rng, dtype=torch.float64)
    axis = axis / axis.norm(dim=1, keepdim=True)
    vector = axis * angle
    back = matrix_to_axis_angle(axis_angle_to_matrix(vector))
    if angle == torch.pi:  # both signs of the axis are the same rotation
        back = back * torch.sign((back * vector).sum(1, keepdim=True))
    torch.testing.assert_close(back, vector, atol=1e-7, rtol=0)


def test_matrices_are_rotations(rng):
    turn = axis_angle_to_matrix(torch.randn(20, 3, generator=rng, dtype=torch.float64) * 2)
    eye = torch.eye(3, dtype=torch.float64).expand(20, 3, 3)
    torch.testing.assert_close(turn @ turn.transpose(1, 2), eye)
    torch.testing.assert_close(torch.det(turn), torch.ones(20, dtype=torch.float64))


def test_gradient_is_exact_also_at_zero(rng):
    vector = torch.randn(4, 3, generator=rng, dtype=torch.float64)
    vector[0] = 0
    assert torch.autograd.gradcheck(axis_angle_to_matrix, vector.requires_grad_())
