import pickle
import warnings
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

import og_reid
from meshes import lift_images
from meshes.world import draw_camera, render, sample_scene
from og_reid import load_model
from og_reid.inference.own_surface import OwnSurface, own_surface, undecided
from pose import COCO_17, Keypoints, Pose
from pose.files.reading import InputWarning
from pose.literals import Masks


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
    assert torch.equal(both[0], own_surface([image], model)[0])
    assert own_surface([], model) == []


def test_models_without_part_maps_are_refused(scene):
    with pytest.raises(ValueError, match="part map"):
        own_surface([scene.image.numpy()], load_model("imagenet-cells"))


def test_undecided_is_the_fraction_of_the_person_between_the_thresholds():
    mask = torch.tensor([[0.9, 0.5, 0.0, 0.1], [0.8, 0.3, 0.0, 0.1]])
    person = torch.tensor([[1.0, 1.0, 1.0, 0.0], [0.0, 0.6, 0.0, 0.0]])
    assert undecided(mask) == 0.5  # of 0.9, 0.5, 0.8, 0.3
    assert undecided(mask, person) == 0.5  # of 0.9, 0.5, 0.0, 0.3
    assert undecided(mask, torch.zeros(2, 4)) == undecided(mask)
    assert undecided(0.5 * mask) == undecided(torch.zeros(2, 4)) == 1


def test_a_source_gives_masks_of_crops_and_none_where_it_is_unsure(scene):
    source = pickle.loads(pickle.dumps(OwnSurface()))
    image, pose = scene.image.numpy(), Pose(scene.keypoints)
    expected = own_surface([image], load_model("default"))[0]
    noise = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    absent = Pose(Keypoints.none(COCO_17))
    masks = source([image, noise, image], [pose, pose, absent])
    assert torch.equal(masks[0], expected)
    assert masks[1] is masks[2] is None
    # In a wide image the mask is that of a crop, wherever the person stands.
    wide = np.zeros((300, 500, 3), np.uint8)
    wide[20:276, 300:428] = image
    moved = replace(scene.keypoints, xy=scene.keypoints.xy + torch.tensor([300.0, 20.0]))
    (mask,) = source([wide], [Pose(moved)])
    assert not mask[:, :280].any()
    assert float(mask[20:276, 300:428][scene.mask].mean()) > 0.4
    assert float(mask[20:276, 300:428][~scene.amodal].mean()) < 0.2


def test_a_portrait_keeps_the_points_of_the_estimator():
    data = pytest.importorskip("skimage.data")
    pytest.importorskip("mediapipe")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        found, plain = (og_reid.lift(data.astronaut(), mask=name) for name in get_args(Masks))
    assert int(found.body().visible.sum()) >= 0.9 * int(plain.body().visible.sum()) > 1000


@pytest.mark.parametrize("place", [(-300.0, 0.0), (0.0, -4000.0), (1e6, 1e6)])
def test_people_outside_of_the_image_have_no_mask(scene, place):
    far = replace(scene.keypoints, xy=scene.keypoints.xy + torch.tensor(place))
    assert OwnSurface()([np.zeros((200, 200, 3), np.uint8)], [Pose(far)]) == [None]


def test_settings_name_the_weights(tmp_path):
    assert OwnSurface().settings == OwnSurface("default").settings
    assert OwnSurface().settings != OwnSurface("fast").settings
    with pytest.raises(ValueError, match="part map"):
        _ = OwnSurface("cloud").settings


def test_a_lift_takes_names_and_arrays(scene):
    image, points = scene.image.numpy(), Pose(scene.keypoints)
    (mask,) = own_surface([image], load_model("default"))

    def colours(**options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            return og_reid.lift(image, points, **options).colors

    default = colours()
    assert torch.equal(default, colours(mask=mask))
    assert torch.equal(default, colours(mask=mask.numpy()))
    assert not torch.equal(default, colours(mask="pose"))
    assert torch.equal(colours(mask="pose"), lift_images([image], [points])[0].cloud.colors)
    for wrong, reported in (
        ("person", "one of own-surface, pose"),
        (None, "got None"),
        (3, "got 3"),
    ):
        with pytest.raises(ValueError, match=reported):
            og_reid.lift(image, points, mask=wrong)
    with pytest.raises(ValueError, match="of one person"):
        og_reid.lift(image, points, mask=mask, all=True)
    with pytest.raises(ValueError, match="image's size"):
        og_reid.lift(image, points, mask=mask[1:])
