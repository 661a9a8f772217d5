"""og_reid.lift of images with several people, and what is said about doubtful lifts."""

import sys
import warnings

import numpy as np
import pytest
import torch

import og_reid
from meshes import LiftQuality, PointCloud
from meshes.fitting.skeleton import Skeleton
from og_reid.inference import given_images
from pose import COCO_17_FEET, Keypoints, NoPersonError, Pose
from pose.files.reading import InputWarning
from rendered_people import one_person, two_people

HEIGHT, WIDTH = 256, 320
IMAGE = np.random.default_rng(0).integers(20, 236, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def standing(body):
    """A person who stands in the middle of 128 columns, by exact keypoints."""
    skeleton = Skeleton(body)
    rotations = torch.eye(3).expand(1, 24, 3, 3)
    points = skeleton.pose(rotations, torch.zeros(1, 10)).points[0]
    points = points[[skeleton.index(name) for name in COCO_17_FEET]]
    xy = torch.stack([64 + 120 * points[:, 0], 110 - 120 * points[:, 1]], -1)
    return Keypoints(xy, torch.full((21,), 0.95), names=COCO_17_FEET, xyz=points)


def shifted(keypoints: Keypoints, across: float) -> Keypoints:
    xy = keypoints.xy + torch.tensor([across, 0.0])
    return Keypoints(xy, keypoints.score, names=keypoints.names, xyz=keypoints.xyz)


@pytest.fixture
def three(standing):
    """People around x = 64, 164 and 264; the last with half the joints found."""
    last = shifted(standing, 200)
    few = last.score * (torch.arange(21) < 13)
    return Keypoints.stack(
        [standing, shifted(standing, 100), Keypoints(last.xy, few, names=last.names, xyz=last.xyz)]
    )


def same(a: PointCloud, b: PointCloud) -> bool:
    return torch.equal(a.points, b.points) and torch.equal(a.colors, b.colors)


def test_everybody_given_is_lifted(three, body):
    clouds, qualities = og_reid.lift(IMAGE, three, body, all=True, return_quality=True)
    assert len(clouds) == len(qualities) == 3
    assert [quality.people for quality in qualities] == [3, 3, 3]
    for i, cloud in enumerate(clouds):
        assert same(cloud, og_reid.lift(IMAGE, three[i], body))


@pytest.mark.parametrize(("people", "index"), [(0, 0), (2, 2), ("first", 0), ("most_central", 1)])
def test_people_chooses_by_index_or_rule(three, body, people, index):
    cloud, quality = og_reid.lift(IMAGE, three, body, people=people, return_quality=True)
    assert same(cloud, og_reid.lift(IMAGE, three[index], body))
    assert quality.people == 3
    assert not any("people are in the image" in reason for reason in quality.reasons)


def test_the_others_of_a_pose_are_people(three, body):
    pose = Pose(three[1], others=three[[0, 2]])
    with pytest.warns(
        InputWarning, match=r"3 people are in the image, and the one around x = 16\d"
    ):
        cloud, quality = og_reid.lift(IMAGE, pose, body, return_quality=True)
    assert quality.doubtful
    assert quality.people == 3
    assert same(cloud, og_reid.lift(IMAGE, three[1], body))
    assert same(og_reid.lift(IMAGE, pose, body, people=1), og_reid.lift(IMAGE, three[0], body))


def test_those_not_found_are_no_people(three, body):
    absent = Keypoints.none(COCO_17_FEET, xyz=True)
    found = Keypoints.stack([absent, three[1]])
    assert len(og_reid.lift(IMAGE, found, body, all=True)) == 1
    with pytest.raises(NoPersonError):
        og_reid.lift(IMAGE, Keypoints.stack([absent, absent]), body, all=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"people": 3}, "index from 0 to 2, as the image shows 3; got 3"),
        ({"people": -1}, "index from 0 to 2"),
        ({"people": "tallest"}, "target must be one of first"),
        ({"people": 1.5}, "an index or a rule"),
        ({"people": True}, "an index or a rule"),
        ({"people": 0, "all": True}, "exclude each other"),
        ({}, r"several with people= or all=True; got batch shape \(3,\)"),
    ],
)
def test_choices_that_cannot_be_are_refused(three, body, options, message):
    with pytest.raises(ValueError, match=message):
        og_reid.lift(IMAGE, three, body, **options)


def test_a_batch_of_one_is_one_person(standing, body):
    batch = Keypoints.stack([standing])
    assert same(og_reid.lift(IMAGE, batch, body), og_reid.lift(IMAGE, standing, body))


@pytest.mark.parametrize("scale", [1 / 320, 1 / 1000])
def test_fractions_of_the_image_are_refused(standing, body, scale):
    fractions = Keypoints(standing.xy * scale, standing.score, names=standing.names)
    with pytest.raises(
        ValueError, match=r"all joints lie in \[-1, 1\].*width \(320\).*height \(256\)"
    ):
        og_reid.lift(IMAGE, fractions, body)


@pytest.mark.parametrize("change", [(1, 900.0), (1, -700.0), (20.0, 0.0)])
def test_joints_outside_the_image_are_refused(standing, body, change):
    scale, shift = change
    away = Keypoints(standing.xy * scale + shift, standing.score, names=standing.names)
    with pytest.raises(ValueError, match="at most one joint lies inside its 256 x 320"):
        og_reid.lift(IMAGE, away, body)
    with pytest.raises(ValueError, match="at most one joint"):
        og_reid.lift(IMAGE, Pose(away), body)


def test_a_sound_lift_does_not_warn(standing, body):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cloud, quality = og_reid.lift(IMAGE, standing, body, return_quality=True)
    assert isinstance(quality, LiftQuality)
    assert not quality.doubtful
    assert same(cloud, og_reid.lift(IMAGE, standing, body))


def test_what_an_image_lacks_is_said_once_and_at_the_caller(standing, body):
    grey = np.repeat(IMAGE[..., :1], 3, -1)
    low = Keypoints(standing.xy, standing.score * 0.4, names=standing.names, xyz=standing.xyz)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        og_reid.lift(grey, low, body)
    (warning,) = caught
    assert warning.category is InputWarning
    assert warning.filename == __file__
    assert "grey or of one tint" in str(warning.message)
    assert "mean score is 0.38" in str(warning.message)


def test_images_as_bytes_and_file_objects(standing, body, tmp_path):
    pil = pytest.importorskip("PIL.Image")
    path = tmp_path / "a.png"
    pil.fromarray(IMAGE).save(path)
    expected = og_reid.lift(IMAGE, standing, body)
    assert same(og_reid.lift(path.read_bytes(), standing, body), expected)
    with path.open("rb") as file:
        assert same(og_reid.lift(file, standing, body), expected)
    with pytest.raises(ValueError, match="download it first"):
        og_reid.lift("https://example.org/a.png", standing, body)


class TestEstimated:
    """With the pose network, on images of the synthetic world."""

    @pytest.fixture(autouse=True)
    def _needs(self):
        pytest.importorskip("mediapipe")

    def test_two_people_are_noticed(self):
        noticed = 0
        for seed in range(8):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                _, quality = og_reid.lift(two_people(seed), return_quality=True)
            noticed += quality.people == 2
            assert any("2 people are in the image" in str(each.message) for each in caught) == (
                quality.people == 2
            )
        assert noticed >= 7

    def test_two_people_are_both_lifted(self):
        image = two_people(0)
        clouds, qualities = og_reid.lift(image, all=True, return_quality=True)
        assert [quality.people for quality in qualities] == [2, 2]
        assert not any(quality.doubtful for quality in qualities)
        for cloud, part in zip(clouds, (image[:, :160], image[:, 160:]), strict=True):
            alone = og_reid.lift(np.ascontiguousarray(part))
            similarity = og_reid.embed(cloud) @ og_reid.embed(alone)
            assert similarity > 0.8
        assert og_reid.embed(clouds[0]) @ og_reid.embed(clouds[1]) < 0.6

    def test_choosing_one_is_no_doubt(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            first = og_reid.lift(two_people(0), people=0)
            second = og_reid.lift(two_people(0), people=1)
        everybody = og_reid.lift(two_people(0), all=True)
        assert same(first, everybody[0])
        assert same(second, everybody[1])

    def test_one_person_gives_no_false_alarm(self):
        doubtful = []
        for seed in range(30):
            if seed == 12:  # the network finds no person
                continue
            _, quality = og_reid.lift(one_person(seed), return_quality=True)
            assert quality.people == 1
            doubtful += quality.reasons
        assert doubtful == []

    def test_a_portrait_is_no_doubt(self):
        astronaut = pytest.importorskip("skimage.data").astronaut()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _, quality = og_reid.lift(astronaut, return_quality=True)
        assert quality.people == 1

    def test_an_empty_image_has_no_person(self):
        blank = np.full((128, 200, 3), 127, np.uint8)
        for options in ({}, {"all": True}, {"people": 0}):
            with pytest.raises(NoPersonError):
                og_reid.lift(blank, **options)

    def test_another_estimator_needs_no_detector(self, monkeypatch, standing):
        monkeypatch.setitem(sys.modules, "mediapipe.python.solution_base", None)
        monkeypatch.setattr(
            given_images, "default_estimator", lambda: lambda image: Pose(standing, others=None)
        )
        monkeypatch.setattr("pose.estimators.people_detector._detector.model", None)
        with pytest.raises(ImportError, match="mediapipe"):
            og_reid.lift(IMAGE)
