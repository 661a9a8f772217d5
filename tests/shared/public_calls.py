"""One call of each public part, on inputs that do not depend on torch's defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import og_reid
from meshes import (
    Lift,
    PointCloud,
    fit_body,
    lift_images,
    load_body,
    read_pointcloud,
    sample_features,
    write_pointcloud,
)
from og_reid import ops
from og_reid.data import CloudSet, ImageSet
from og_reid.data.clouds.lift_dataset import lift_many
from og_reid.data.files.inputs import Input
from og_reid.data.sample import Sample
from og_reid.evaluation import reliability
from og_reid.inference import DenseEncoder, DensePreprocessing, given_images
from og_reid.models import DenseReID
from og_reid.pipelines.embed_files import embed_files
from og_reid.pipelines.lift_files import lift_files
from og_reid.rerank import SearchMethods, k_reciprocal
from og_reid.retrieval import Calibration, fit_calibration
from pose import COCO_17, COCO_17_FEET, Keypoints, Pose, heatmaps, part_visibility, read_image
from pose.estimators.people_detector import find_people
from pose.formats.coco import CocoKeypoints, read_coco, read_npz, write_coco, write_npz
from pose.formats.estimator_writers import (
    write_alphapose,
    write_kpr,
    write_mmpose,
    write_openpose,
    write_sep_json,
)
from pose.formats.estimators import (
    read_alphapose,
    read_kpr,
    read_mmpose,
    read_openpose,
    read_sep_json,
)
from pose.layouts import to_openpose18
from pose.runtime.defaults import plain_torch

_RANDOM = np.random.default_rng(0)


def _array(*shape: int) -> Tensor:
    return torch.from_numpy(_RANDOM.random(shape, dtype=np.float32))


IMAGE = _RANDOM.integers(0, 255, (128, 64, 3), dtype=np.uint8)
POINTS, FEATURES = _array(2, 200, 3), _array(2, 60, 24)
TABLE = torch.cat([_array(300, 3) + torch.tensor([0.0, -0.5, 0.0], dtype=torch.float32),
                   _array(300, 3)], 1)  # fmt: skip
VECTORS = _array(30, 16)
CELLS = (_array(4, 12, 16), _array(4, 12, 6) / 6, _array(4, 6), _array(4, 12))
MAP = _array(4, 8, 4)
IDENTITIES = np.arange(30) % 5
CAMERAS = np.arange(30) % 3
_ROWS = [0.1] * 5 + [0.2, 0.2, 0.35, 0.35, 0.48, 0.48, 0.5, 0.5, 0.7, 0.7, 0.9, 0.9, 0.92, 0.92,
                     0.93, 0.93]  # fmt: skip
_SIDES = [0, 1, -1, 2, -2, 6, -6, 8, -8, 9, -9, 4, -4, 4, -4, 4, -4, 4, -4, 5, -5]
STANDING = Keypoints(
    torch.from_numpy(
        np.stack([32 + 2.56 * np.array(_SIDES), 128 * np.array(_ROWS)], 1).astype(np.float32)
    ),
    torch.from_numpy(np.full(21, 0.9, np.float32)),
    names=COCO_17_FEET,
)


def _cloud_fields(cloud: PointCloud) -> list[Tensor]:
    return [cloud.points, cloud.colors, cloud.visible, cloud.part]


def _estimate() -> list[Tensor]:
    from skimage.data import astronaut

    pose = given_images.default_estimator()(np.ascontiguousarray(astronaut()[::4, ::4]))
    assert pose.mask is not None
    return [pose.keypoints.xy, pose.keypoints.score, pose.keypoints.visibility, pose.mask]


def _fit() -> list[Tensor]:
    fit = fit_body(STANDING, (128, 64))
    return [fit.vertices, fit.joints, fit.yaw, fit.camera.scale]


def _lift() -> Lift:
    return lift_images([IMAGE], [Pose(STANDING)])[0]


def _clouds() -> list[Tensor]:
    cloud = PointCloud(TABLE[:, :3], TABLE[:, 3:])
    batch = CloudSet.from_clouds([(cloud, 1, 2, "a"), (cloud, 2, 3, "b")]).batch([0, 1], 64)
    return [batch.points, batch.colors, *batch.network_input()]


def _files(folder: Path) -> list[Tensor]:
    found = []
    for ending in ("npz", "ply", "obj"):
        write_pointcloud(folder / f"cloud.{ending}", PointCloud(TABLE[:, :3], TABLE[:, 3:]))
        cloud = read_pointcloud(folder / f"cloud.{ending}")
        found += [cloud.points, cloud.colors]
    return found


def _people(folder: Path) -> list[Tensor]:
    from PIL import Image

    path = folder / "0001_c1s1_000001_00.png"
    Image.fromarray(IMAGE).save(path)
    people = ImageSet([Sample(path, 1, 1)], lambda _: STANDING)
    batch = people.batch(torch.from_numpy(np.array([0])))
    return [batch.images, batch.heatmaps, batch.visibility, torch.from_numpy(read_image(path))]


def _evaluate() -> list[Tensor]:
    found = og_reid.evaluate(
        VECTORS[:10], VECTORS, query_pids=IDENTITIES[:10], gallery_pids=IDENTITIES,
        query_camids=CAMERAS[:10], gallery_camids=CAMERAS,
    )  # fmt: skip
    return [torch.from_numpy(np.array([found.mAP, found.rank(1), found.rank(5)]))]


def _reranked() -> list[Tensor]:
    return [torch.cat(list(k_reciprocal(VECTORS[:10], VECTORS)))]


@plain_torch()
def _dense() -> DenseEncoder:
    network = DenseReID(16, 8, generator=torch.Generator().manual_seed(0)).eval()
    network.calibrate(torch.rand(8, 3, 64, 32, generator=torch.Generator().manual_seed(1)) * 255)
    return DenseEncoder(network, DensePreprocessing(64, 32))


def _compared() -> list[Tensor]:
    model, images = _dense(), [IMAGE, np.ascontiguousarray(IMAGE[::-1]), 255 - IMAGE]
    found = og_reid.describe(images, model)
    assert found.features is not None
    assert found.local is not None
    methods = SearchMethods(center_gallery=0.5, center_neighbors=1, rerank=True)
    results = [
        og_reid.rank(found, found, model, k=2, candidates=2),
        og_reid.rank(found, found, model, k=2, methods=methods),
    ]
    pair = og_reid.same_person(IMAGE, images[1], model, calibration=Calibration(0.0, 5.0))
    numbers = torch.from_numpy(np.array([pair.score, pair.shared, pair.probability or 0.0]))
    lists = [tensor for each in results for tensor in (each.indices, each.distances, each.shared)]
    scores = og_reid.similarity(images, found, model)
    terms = [each.contribution for each in og_reid.explain(IMAGE, images[1], model).cells]
    return [found.features, *found.local.tensors, scores, numbers, *lists, *terms]


def _calibrated() -> list[Tensor]:
    scores, shared = VECTORS[:, 0], 0.1 + 0.8 * VECTORS[:, 1]
    same = scores + 0.3 * VECTORS[:, 2] > 0.6
    found = fit_calibration(scores, shared, same)
    p = found.probability(scores, shared)
    return [p, reliability(p, same, prior=0.5).observed.nan_to_num()]


def _world() -> list[Tensor]:
    from meshes.world import draw_camera, render, sample_scene

    scene = sample_scene(1, draw_camera(0, 1), torch.Generator().manual_seed(0))
    return [render(scene).image]


def _keypoint_files(folder: Path) -> list[Tensor]:
    coco = Keypoints.stack([STANDING, STANDING]).select(COCO_17)
    of_images = CocoKeypoints(coco, ("a.jpg", "b.jpg"))
    written: list[tuple[Any, Any, Any]] = [
        (write_sep_json, read_sep_json, to_openpose18(coco)),
        (write_openpose, read_openpose, to_openpose18(coco)),
        (write_kpr, read_kpr, coco),
        (write_mmpose, read_mmpose, coco),
        (write_npz, read_npz, coco),
        (write_coco, read_coco, of_images),
        (write_alphapose, read_alphapose, of_images),
    ]
    found = []
    for number, (write, read, people) in enumerate(written):
        write(folder / f"{number}.json", people)
        again = read(folder / f"{number}.json")
        each = again.keypoints if isinstance(again, CocoKeypoints) else again
        found += [each.xy, each.score, each.visibility]
    return found


class _Standing:
    """Estimator with the same person in each image."""

    @property
    def settings(self) -> dict[str, str]:
        return {"estimator": "standing"}

    def __call__(self, image: Any) -> Pose:
        return Pose(STANDING)


def _many(folder: Path) -> list[Tensor]:
    from PIL import Image

    path = folder / "1.png"
    Image.fromarray(IMAGE).save(path)
    found = []
    for _ in range(2):  # lifted, then from the cache
        (lifted,) = lift_many([path], estimator=_Standing, cache=folder / "cache")
        assert lifted.cloud is not None
        found += [lifted.cloud.points, lifted.cloud.colors]
    found.append(embed_files([path], estimator=_Standing).features)
    lift_files([Input(path, "1.png")], folder, estimator=_Standing, ending=".npz")
    found.append(read_pointcloud(folder / "1.npz").points)
    lift = _lift()
    numbers = (lift.quality.reprojection_error, lift.quality.mean_score)
    return [*found, torch.from_numpy(np.array(numbers))]


def _everybody() -> list[Tensor]:
    from skimage.data import astronaut

    image = np.ascontiguousarray(astronaut()[::4, ::4])
    return [pose.keypoints.xy for pose in find_people(image, given_images.default_estimator())]


def calls(folder: Path) -> Mapping[str, Callable[[], Any]]:
    """Calls by name; each returns tensors, or a tuple or list of them."""
    return {
        "load_model": lambda: list(og_reid.load_model("cloud").model.state_dict().values()),
        "embed": lambda: [og_reid.embed(TABLE), og_reid.embed([TABLE.numpy(), TABLE])],
        "load_body": lambda: [load_body().v_template, load_body().skin_weights],
        "fit_body": _fit,
        "lift": lambda: _cloud_fields(og_reid.lift(IMAGE, STANDING)),
        "lift canonical": lambda: _cloud_fields(og_reid.lift(IMAGE, STANDING, canonical=True)),
        "lift reference": lambda: _cloud_fields(og_reid.lift(IMAGE, STANDING, layout="reference")),
        "lift_images": lambda: _cloud_fields(_lift().upright()),
        "sample_features": lambda: [sample_features(_lift(), MAP, (128, 64)).cloud.features],
        "estimate": _estimate,
        "heatmaps": lambda: [heatmaps(STANDING, (128, 64)), part_visibility(STANDING, (128, 64))],
        "knn": lambda: ops.knn(POINTS, 5),
        "knn of features": lambda: ops.knn(FEATURES, 5),
        "ball_query": lambda: ops.ball_query(POINTS, POINTS[:, :40], (0.2, 0.4), (4, 8)),
        "sample": lambda: ops.farthest_point_sample(POINTS, 30),
        "radius_count": lambda: ops.radius_count(POINTS, POINTS, (0.2,)),
        "late_interaction": lambda: ops.late_interaction(*CELLS, *CELLS),
        "late_interaction_topk": lambda: ops.late_interaction_topk(*CELLS, *CELLS, k=2),
        "pool": lambda: ops.pool_neighbors(FEATURES, ops.knn(FEATURES, 5)),
        "clouds": _clouds,
        "files": lambda: _files(folder),
        "people": lambda: _people(folder),
        "keypoint files": lambda: _keypoint_files(folder),
        "many images": lambda: _many(folder),
        "everybody": _everybody,
        "evaluate": _evaluate,
        "k_reciprocal": _reranked,
        "describe and compare": _compared,
        "calibration": _calibrated,
        "world": _world,
    }
