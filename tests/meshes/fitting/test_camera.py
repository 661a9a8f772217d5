import pytest
import torch

from meshes import CropCamera


def _camera(kappa: float = 0.0, aspect: float = 0.0) -> CropCamera:
    return CropCamera(
        torch.tensor([100.0]),
        torch.tensor([[64.0, 128.0]]),
        torch.tensor([aspect]),
        torch.tensor([kappa]),
    )


def test_plain_camera_scales_flips_and_shifts():
    point = torch.tensor([[[0.2, 0.5, 0.1]]])
    assert _camera().project(point)[0, 0].tolist() == pytest.approx([84.0, 78.0, -0.1])


@pytest.mark.parametrize("kappa", [0.0, 1e-7, 0.1, -0.1, 0.3])
@pytest.mark.parametrize("aspect", [0.0, 0.2, -0.3])
def test_unproject_inverts_project(kappa, aspect, rng):
    camera = _camera(kappa, aspect)
    points = torch.rand(1, 40, 3, generator=rng) * 2 - 1  # below the horizon of every kappa
    pixels = camera.project(points)
    back = camera.unproject(pixels[..., :2], points[..., 2])
    torch.testing.assert_close(back, points, atol=1e-5, rtol=0)


def test_unproject_stays_finite_above_the_horizon():
    far = _camera(kappa=0.3).unproject(torch.tensor([[[64.0, 1e6]]]), torch.zeros(1))
    assert torch.isfinite(far).all()


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="shift"):
        CropCamera(torch.ones(2), torch.ones(2, 3), torch.zeros(2), torch.zeros(2))
