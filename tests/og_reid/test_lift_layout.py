import numpy as np
import torch

import og_reid
from meshes import lift_image
from pose import COCO_17, Keypoints, Pose


def test_lift_passes_the_layout_on(body):
    """A person who stands upright, by keypoints alone."""
    places = {
        "nose": (32, 20), "eye": (3, 18), "ear": (5, 19), "shoulder": (10, 34), "elbow": (13, 50),
        "wrist": (14, 64), "hip": (6, 66), "knee": (6, 90), "ankle": (6, 112),
    }  # fmt: skip
    xy = []
    for name in COCO_17:
        side, _, joint = name.rpartition("_")
        across, down = places[joint]
        xy.append((across if not side else 32 + across * (1 if side == "left" else -1), down))
    keypoints = Keypoints(torch.tensor(xy).float(), torch.ones(17))
    image = np.arange(128 * 64 * 3).reshape(128, 64, 3).astype(np.uint8)
    cloud = og_reid.lift(image, keypoints, body, layout="reference", mask="pose")
    expected = lift_image(image, Pose(keypoints), body, layout="reference").cloud
    assert len(cloud) == 8192
    assert torch.equal(cloud.points, expected.points)
    assert torch.equal(cloud.colors, expected.colors)
    surface = og_reid.lift(image, keypoints, body)
    assert len(surface.body()) == body.num_vertices
