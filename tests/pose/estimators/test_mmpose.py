"""MMPose with mmpose's own configurations and random weights."""

import copy
import pickle
import shutil
import sys
import urllib.error
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from interpreter import run_python
from pose import COCO_17, MMPose, PoseEstimator, estimate_batch

RTMPOSE = "rtmpose-s_8xb256-420e_coco-256x192"
HRNET = "td-hm_hrnet-w32_8xb64-210e_coco-256x192"
SIMPLE = "td-hm_res50_8xb64-210e_coco-256x192"
VITPOSE = "td-hm_ViTPose-small_8xb64-210e_coco-256x192"


def picture(seed, height=160, width=70):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def config_file(name):
    import mmpose

    (path,) = Path(mmpose.__file__).parent.rglob(f"{name}.py")
    return path


@pytest.fixture(scope="module")
def apis():
    pytest.importorskip("mmpose")
    from pose.estimators.mmpose_import import import_mmpose

    return import_mmpose()


@pytest.fixture(scope="module")
def checkpoints(apis, tmp_path_factory):
    """Gives a local checkpoint with random weights for a packaged configuration."""
    folder, made = tmp_path_factory.mktemp("checkpoints"), {}

    def get(name):
        if name not in made:
            with torch.random.fork_rng(), pytest.MonkeyPatch.context() as patch:
                patch.setattr("warnings.warn", lambda *_, **__: None)
                network = apis.init_model(str(config_file(name)), None, "cpu")
            made[name] = folder / f"{name}.pth"
            torch.save({"meta": {"epoch": 1}, "state_dict": network.state_dict()}, made[name])
        return made[name]

    return get


@pytest.fixture(scope="module")
def estimator(checkpoints):
    return MMPose(RTMPOSE, checkpoints(RTMPOSE))


def test_placeholder_modules_are_removed(apis):
    assert "mmdet" not in sys.modules
    assert find_spec("mmdet") is None
    assert getattr(sys.modules.get("mmcv.ops"), "__file__", "real") is not None


@pytest.mark.parametrize("name", [RTMPOSE, HRNET, SIMPLE, VITPOSE])
def test_results_equal_those_of_mmpose(apis, checkpoints, name):
    if name == VITPOSE:
        pytest.importorskip("mmpretrain")
    ours = MMPose(config_file(name), checkpoints(name))
    assert isinstance(ours, PoseEstimator)
    image = picture(0)
    pose = ours(image)
    (theirs,) = apis.inference_topdown(ours._network.module, image[..., ::-1].copy())
    kept = theirs.pred_instances
    assert pose.people.names == COCO_17
    everybody = pose.people if pose.found else pose.others
    assert torch.equal(everybody.xy, torch.from_numpy(kept.keypoints).float())
    scores = torch.from_numpy(np.asarray(kept.keypoint_scores)).float().clamp(0, 1)
    assert torch.equal(everybody.score, scores)


class Boxes:
    """A detector that always finds the same."""

    def __init__(self, boxes):
        self.boxes, self.settings = boxes, {"detector": "fixed"}

    def __call__(self, image):
        return self.boxes


def like(estimator, **changes):
    """The same with other options, sharing the network."""
    other = copy.copy(estimator)
    vars(other).update(changes)
    return other


def test_several_people_are_kept_and_the_target_is_chosen(estimator):
    image = picture(1)
    boxes = [[0, 0, 70, 160], [10, 20, 40, 90], [30.5, 50, 69, 120]]
    each = [like(estimator, detect=Boxes([box]))(image) for box in boxes]
    found = {}
    for target in ("first", "largest", "most_central"):
        detect = Boxes(torch.tensor(boxes))
        many = like(estimator, detect=detect, target=target, batch_size=2)
        pose = many(image)
        assert pose.others.shape == (2,)
        distance = [float((pose.keypoints.xy - one.keypoints.xy).abs().max()) for one in each]
        found[target] = int(np.argmin(distance))
        assert min(distance) < 1e-2
        rest = [i for i in range(3) if i != found[target]]
        for row, i in enumerate(rest):  # the others stay, in their order
            torch.testing.assert_close(
                pose.people[1 + row].xy, each[i].keypoints.xy, atol=1e-2, rtol=0
            )
    assert found["first"] == 0
    spans = [float((k.xy.amax(0) - k.xy.amin(0)).prod()) for k in (p.keypoints for p in each)]
    assert found["largest"] == int(np.argmax(spans))
    torch.testing.assert_close(each[0].keypoints.xy, estimator(image).keypoints.xy)


def test_a_batch_of_images_equals_them_one_by_one(estimator):
    images = [picture(seed, 100 + 20 * seed, 60) for seed in range(3)]
    for pose, image in zip(estimate_batch(estimator, images), images, strict=True):
        torch.testing.assert_close(
            pose.keypoints.xy, estimator(image).keypoints.xy, atol=1e-2, rtol=0
        )
    assert estimator.batch([]) == []


def test_image_paths_are_read(estimator, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.fromarray(picture(3)).save(tmp_path / "a.png")
    assert torch.equal(
        estimator(tmp_path / "a.png").keypoints.xy, estimator(picture(3)).keypoints.xy
    )


@pytest.mark.parametrize("boxes", [[], torch.zeros(0, 4), np.zeros((0, 4))])
def test_no_box_is_no_person(estimator, boxes):
    pose = like(estimator, detect=Boxes(boxes))(picture(0))
    assert not pose.found
    assert pose.people.shape == (0,)


@pytest.mark.parametrize(
    "boxes", [[[0, 0, 5]], [[5, 0, 5, 9]], [[0, 0, float("nan"), 9]], [0, 0, 5, 9]]
)
def test_bad_boxes_are_refused(estimator, boxes):
    with pytest.raises(ValueError, match=r"boxes \(P, 4\)"):
        like(estimator, detect=Boxes(boxes))(picture(0))


def test_bad_images_are_refused(estimator):
    with pytest.raises(ValueError, match="uint8 RGB"):
        estimator(np.zeros((64, 32), np.uint8))


def test_an_estimator_can_be_pickled(estimator):
    again = pickle.loads(pickle.dumps(estimator))
    assert torch.equal(again(picture(4)).keypoints.xy, estimator(picture(4)).keypoints.xy)
    assert again.settings == estimator.settings


def test_settings_differ_by_weights_and_policies(checkpoints, estimator, tmp_path):
    state = torch.load(checkpoints(RTMPOSE), weights_only=True)
    state["state_dict"]["head.final_layer.bias"] += 1
    torch.save(state, tmp_path / "other.pth")
    others = [
        MMPose(RTMPOSE, tmp_path / "other.pth"),
        like(estimator, target="largest"),
        like(estimator, detect=Boxes([])),
    ]
    settings = [estimator.settings, *(each.settings for each in others)]
    assert settings[0]["mmpose"] == "1.3.2"
    assert len({repr(each) for each in settings}) == 4
    with pytest.raises(ValueError, match="settings"):
        _ = like(estimator, detect=lambda image: []).settings


class Strange:
    """Something that only unpickling with code could read."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {**c, "meta": {"cfg": Strange()}}, r"could run code.*weights_only=False"),
        (lambda c: {"state_dict": {"a": 1}}, "state dict"),
        (lambda c: {"state_dict": dict(list(c["state_dict"].items())[3:])}, "lacks 3 tensors"),
        (lambda c: {"state_dict": c["state_dict"] | {"x": torch.ones(1)}}, "has also 1 tensors: x"),
        (
            lambda c: {"state_dict": c["state_dict"] | {"head.final_layer.bias": torch.ones(3)}},
            "does not fit",
        ),
        (
            lambda c: {
                "state_dict": c["state_dict"]
                | {"head.final_layer.bias": torch.full((17,), torch.nan)}
            },
            "NaN",
        ),
    ],
)
def test_bad_checkpoints_are_refused(checkpoints, tmp_path, change, message):
    content = torch.load(checkpoints(RTMPOSE), weights_only=True)
    torch.save(change(content), tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=message):
        MMPose(RTMPOSE, tmp_path / "bad.pth")


def test_a_checkpoint_cut_short_or_missing_is_refused(checkpoints, tmp_path):
    (tmp_path / "cut.pth").write_bytes(checkpoints(RTMPOSE).read_bytes()[:100_000])
    with pytest.raises(ValueError, match="damaged"):
        MMPose(RTMPOSE, tmp_path / "cut.pth")
    with pytest.raises(ValueError, match="there is no"):
        MMPose(RTMPOSE, tmp_path / "missing.pth")


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_arrays_of_numbers_beside_the_weights_are_data(checkpoints, tmp_path, dtype):
    """As published files hold them: sigmas of the data set."""
    content = torch.load(checkpoints(RTMPOSE), weights_only=True)
    content["meta"] = {"dataset_meta": {"sigmas": np.arange(17, dtype=dtype), "n": dtype(3)}}
    torch.save(content, tmp_path / "published.pth")
    assert MMPose(RTMPOSE, tmp_path / "published.pth")(picture(0)).keypoints.shape == ()


def test_without_a_network_the_published_address_is_named(apis, monkeypatch, tmp_path):
    def unreachable(*_, **__):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(ValueError, match=r"no route.*https://.*rtmpose-s.*\.pth.*as checkpoint"):
        MMPose(RTMPOSE)


def test_published_weights_are_checked_and_kept(apis, checkpoints, monkeypatch, tmp_path):
    asked = []

    def download(url, path, prefix, progress):
        asked.append((url.rpartition("/")[2], prefix))
        shutil.copy(checkpoints(RTMPOSE), path)

    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    assert MMPose(RTMPOSE).settings == MMPose(RTMPOSE, checkpoints(RTMPOSE)).settings
    MMPose(RTMPOSE)
    ((name, prefix),) = asked
    assert prefix
    assert f"-{prefix}_" in name


def test_bad_configurations_are_refused(apis, checkpoints, tmp_path):
    with pytest.raises(ValueError, match=r"near: .*rtmpose-s"):
        MMPose("rtmpose-s_8xb256-420e_coco-256x193", checkpoints(RTMPOSE))
    (tmp_path / "detector.py").write_text("model = dict(type='FasterRCNN')\n")
    with pytest.raises(ValueError, match="FasterRCNN"):
        MMPose(tmp_path / "detector.py", checkpoints(RTMPOSE))
    with pytest.raises(ValueError, match="checkpoint must be given"):
        MMPose(config_file(RTMPOSE))


def test_a_missing_mmpose_names_the_command():
    code = (
        "import sys; sys.modules['mmpose'] = None\n"
        "from pose import MMPose\n"
        "try: MMPose('x', 'y')\n"
        "except ImportError as error: print(error)"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert "requirements-mmpose.txt" in done.stdout
