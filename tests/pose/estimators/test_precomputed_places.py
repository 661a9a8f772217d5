"""Keypoint files and their images: folders, units, and joints outside the image."""

import shutil
import warnings

import numpy as np
import pytest
import torch

from pose import (
    COCO_17,
    CocoKeypoints,
    Keypoints,
    PrecomputedPose,
    read_alphapose,
    read_coco,
    read_kpr,
    read_mmpose,
    read_openpose,
    read_sep_json,
    to_openpose18,
    write_alphapose,
    write_coco,
    write_kpr,
    write_mmpose,
    write_openpose,
    write_sep_json,
)
from pose.files.reading import InputWarning

Image = pytest.importorskip("PIL.Image")
HEIGHT, WIDTH = 128, 64
FORMATS = ("coco", "alphapose", "sep-json", "openpose", "kpr", "mmpose")


def person(at: float = 10.0, scale: float = 1.0, shift: float = 0.0) -> Keypoints:
    """(1, 17) joints inside 128 x 64 pixels, the nose at x = `at`."""
    steps = torch.arange(17)
    xy = torch.stack([at + steps % 4, 20 + 6.0 * steps], -1)[None]
    return Keypoints(xy * scale + shift, torch.full((1, 17), 0.9))


def write(folder, format, entries):
    """Keypoints of images by their (perhaps bare) names; what PrecomputedPose takes as source."""
    folder.mkdir(exist_ok=True)
    if format in ("coco", "alphapose"):
        everybody = CocoKeypoints(Keypoints.cat(list(entries.values())), tuple(entries))
        (write_coco if format == "coco" else write_alphapose)(folder / "all.json", everybody)
        return folder / "all.json"
    writer = {"sep-json": write_sep_json, "openpose": write_openpose, "kpr": write_kpr,
              "mmpose": write_mmpose}[format]  # fmt: skip
    for name, found in entries.items():
        stem = name if format == "kpr" else name.rpartition(".")[0]
        ending = ".json" if format in ("sep-json", "mmpose") else "_keypoints.json"
        path = folder / (stem + ending)
        path.parent.mkdir(parents=True, exist_ok=True)
        writer(path, to_openpose18(found) if format in ("sep-json", "openpose") else found)
    return folder


@pytest.fixture
def photos(tmp_path):
    """anna/1.png and bert/1.png, which differ."""
    for value, name in enumerate(("anna", "bert")):
        (tmp_path / name).mkdir()
        pixels = np.full((HEIGHT, WIDTH, 3), 50 * value, np.uint8)
        Image.fromarray(pixels).save(tmp_path / name / "1.png")
    return tmp_path


def nose(pose) -> float:
    return float(pose.keypoints.select(["nose"]).xy[0, 0])


@pytest.mark.parametrize("format", FORMATS)
def test_keypoints_of_another_folder_are_not_taken(photos, format):
    source = write(photos / "keypoints", format, {"anna/1.png": person()})
    estimator = PrecomputedPose(source, format)
    assert not estimator(photos / "bert" / "1.png").found
    assert estimator(photos / "anna" / "1.png").found


@pytest.mark.parametrize("format", FORMATS)
def test_each_folder_has_its_own_entry(photos, format):
    entries = {"anna/1.png": person(10), "bert/1.png": person(30)}
    estimator = PrecomputedPose(write(photos / "keypoints", format, entries), format)
    assert len(estimator) == 2
    assert nose(estimator(photos / "anna" / "1.png")) == 10
    assert nose(estimator(photos / "bert" / "1.png")) == 30


@pytest.mark.parametrize("format", FORMATS)
def test_one_bare_entry_for_two_images_is_refused(photos, format):
    estimator = PrecomputedPose(write(photos / "keypoints", format, {"1.png": person()}), format)
    assert estimator(photos / "anna" / "1.png").found
    assert estimator(photos / "anna" / "1.png").found  # again is no second image
    with pytest.raises(ValueError, match=r"one image.*anna.*bert.*both take") as caught:
        estimator(photos / "bert" / "1.png")
    assert str(photos / "keypoints") in str(caught.value)


@pytest.mark.parametrize("format", FORMATS)
def test_copies_of_an_image_share_a_bare_entry(photos, format):
    """As the query and gallery of Occluded-Duke."""
    shutil.copy(photos / "anna" / "1.png", photos / "bert" / "1.png")
    estimator = PrecomputedPose(write(photos / "keypoints", format, {"1.png": person()}), format)
    assert nose(estimator(photos / "anna" / "1.png")) == nose(estimator(photos / "bert" / "1.png"))


@pytest.mark.parametrize("format", ["sep-json", "openpose", "mmpose"])
def test_two_endings_of_one_stem_are_two_images(photos, format):
    pixels = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    Image.fromarray(pixels).save(photos / "anna" / "1.bmp")
    estimator = PrecomputedPose(write(photos / "keypoints", format, {"1.png": person()}), format)
    estimator(photos / "anna" / "1.png")
    with pytest.raises(ValueError, match="one image"):
        estimator(photos / "anna" / "1.bmp")


def test_absolute_names_of_moved_images_match_by_their_last_folder(photos):
    entries = {"/gone/elsewhere/anna/1.png": person(10), "D:\\gone\\bert\\1.png": person(30)}
    estimator = PrecomputedPose(write(photos / "k", "coco", entries), "coco")
    assert nose(estimator(photos / "anna" / "1.png")) == 10
    assert nose(estimator(photos / "bert" / "1.png")) == 30


def test_an_absolute_name_of_another_image_is_not_taken(photos):
    other = photos / "other" / "anna"
    other.mkdir(parents=True)
    shutil.copy(photos / "anna" / "1.png", other)
    source = write(photos / "k", "coco", {str(other / "1.png"): person()})
    estimator = PrecomputedPose(source, "coco")
    assert not estimator(photos / "anna" / "1.png").found
    assert estimator(other / "1.png").found


def test_a_relative_path_matches_by_its_place(photos, monkeypatch):
    source = write(photos / "k", "coco", {"anna/1.png": person(10), "bert/1.png": person(30)})
    monkeypatch.chdir(photos / "bert")
    assert nose(PrecomputedPose(source, "coco")("1.png")) == 30


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.filterwarnings("ignore::pose.files.reading.InputWarning")
def test_fractions_of_the_image_are_refused(photos, format):
    found = person()
    fractions = Keypoints(found.xy / torch.tensor([WIDTH, HEIGHT]), found.score)
    source = write(photos / "keypoints", format, {"anna/1.png": fractions})
    with pytest.raises(ValueError, match=r"pixels; all joints lie in \[-1, 1\].*multiply x"):
        PrecomputedPose(source, format)(photos / "anna" / "1.png")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("change", [{"shift": 500.0}, {"scale": 30.0}])
def test_people_outside_their_image_are_left_out_with_one_warning(photos, format, change):
    entries = {"anna/1.png": person(**change), "bert/1.png": person(**change)}
    estimator = PrecomputedPose(write(photos / "keypoints", format, entries), format)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        poses = [estimator(photos / name / "1.png") for name in ("anna", "bert")]
    assert not any(pose.found for pose in poses)
    assert estimator.left_out == 2
    (warning,) = caught
    assert warning.category is InputWarning
    assert "at most one joint lies inside its 128 x 64" in str(warning.message)
    assert "keypoints" in str(warning.message)


def test_people_inside_stay_when_others_are_outside(photos):
    both = {"anna/1.png": person(), "./anna/1.png": person(shift=500)}
    estimator = PrecomputedPose(write(photos / "k", "coco", both), "coco")
    with pytest.warns(InputWarning):
        pose = estimator(photos / "anna" / "1.png")
    assert pose.found
    assert pose.people.shape == (1,)


def test_sound_keypoints_do_not_warn(photos):
    cut = person()
    cut.xy[0, 8:] += 1000  # the lower half is below the image
    source = write(photos / "k", "coco", {"anna/1.png": person(), "bert/1.png": cut})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = PrecomputedPose(source, "coco")
        assert all(estimator(photos / name / "1.png").found for name in ("anna", "bert"))
    assert estimator.left_out == 0


READERS = [("coco", read_coco), ("alphapose", read_alphapose), ("sep-json", read_sep_json),
           ("openpose", read_openpose), ("kpr", read_kpr), ("mmpose", read_mmpose)]  # fmt: skip


@pytest.mark.parametrize(("format", "read"), READERS)
def test_readers_warn_of_fractions(tmp_path, format, read):
    found = person()
    for scale, count in ((1 / 200, 1), (1.0, 0)):
        source = write(
            tmp_path / f"{scale}", format, {"1.png": Keypoints(found.xy * scale, found.score)}
        )
        path = source if source.is_file() else next(source.iterdir())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read(path)
        assert [each.category for each in caught] == [InputWarning] * count
        assert all(each.filename == __file__ for each in caught)


@pytest.mark.parametrize("format", FORMATS)
def test_names_correct_every_format(photos, format):
    source = write(photos / "keypoints", format, {"anna/1.png": person()})
    layout = PrecomputedPose(source, format)(photos / "anna" / "1.png").keypoints.names
    mirrored = tuple(
        each.replace("left", "x").replace("right", "left").replace("x", "right") for each in layout
    )
    pose = PrecomputedPose(source, format, names=mirrored)(photos / "anna" / "1.png")
    assert pose.keypoints.names == mirrored
    missing = PrecomputedPose(source, format, names=mirrored)(photos / "bert" / "1.png")
    assert missing.keypoints.names == mirrored
    with pytest.raises(ValueError, match="names must be"):
        PrecomputedPose(source, format, names=("nose", "nose"))


def test_the_names_in_a_coco_file_are_taken(photos):
    names = (*COCO_17[::-1],)
    flipped = Keypoints(person().xy, person().score, names=names)
    write_coco(photos / "k.json", CocoKeypoints(flipped, ("anna/1.png",)))
    assert (
        PrecomputedPose(photos / "k.json", "coco")(photos / "anna" / "1.png").keypoints.names
        == names
    )
