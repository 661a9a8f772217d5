import numpy as np
import pytest
import torch

from meshes import lift_images
from meshes.world import draw_camera, render, sample_scene
from og_reid import load_model
from og_reid.inference.own_surface import own_surface
from pose import Pose


@pytest.fixture(scope="module")
def scene():
    """A rendered person behind something."""
    generator = torch.Generator().manual_seed(3)
    return render(sample_scene(900_123, draw_camera(5, 1), generator, "car"))


def test_masks_show_the_person_and_not_what_is_in_front(scene):
    (mask,) = own_surface([scene.image.numpy()], load_model("default"))
    assert mask.shape == scene.mask.shape
    assert float(mask[scene.mask].mean()) > 0.5
    assert float(mask[scene.amodal & ~scene.mask].mean()) < 0.3
    assert float(mask[~scene.amodal].mean()) < 0.15


def test_fewer_points_are_coloured_from_what_is_in_front(scene):
    image = scene.image.numpy()
    pose = Pose(scene.keypoints)
    masks = own_surface([image], load_model("default"))

    def beside(given) -> float:
        (lift,) = lift_images([image], [pose], masks=given)
        seen = lift.cloud.visible & ~lift.cloud.is_background
        place = lift.fit.camera.project(lift.cloud.points[None, seen])[0, :, :2].long()
        shown = scene.mask[place[:, 1].clamp(0, 255), place[:, 0].clamp(0, 127)]
        assert len(shown) > 200
        return float((~shown).float().mean())

    assert beside(masks) < min(0.1, beside(None))


def test_masks_are_those_of_each_image_alone_in_any_size(scene):
    model = load_model("default")
    image = scene.image.numpy()
    large = np.repeat(np.repeat(image, 2, 0), 2, 1)
    both = own_surface([image, large], model)
    assert both[1].shape == (512, 256)
    torch.testing.assert_close(both[0], own_surface([image], model)[0], atol=1e-5, rtol=0)
    assert own_surface([], model) == []


def test_models_without_part_maps_are_refused(scene):
    with pytest.raises(ValueError, match="part map"):
        own_surface([scene.image.numpy()], load_model("imagenet-cells"))
