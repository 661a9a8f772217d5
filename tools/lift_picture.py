"""Draws docs/lift.png: a walking person of the synthetic world, its keypoints, body and cloud.

    python tools/lift_picture.py                      # the image of the README
    python tools/lift_picture.py --sheet people.png   # many people, to choose from

The image is rendered by `meshes.world`, larger and cleaner than those of a data set; the rest is as
in ``og-reid lift``. Needs the extra ``demo``.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from meshes import Lift, lift_image
from meshes.world import draw_camera, render, sample_scene
from meshes.world.imaging.camera import take_view
from og_reid.viz.lift import lift_figure
from og_reid.viz.ranking import sheet_figure
from pose import MediapipePose, Pose

ROOT = Path(__file__).resolve().parents[1]
SIZE = (720, 360)  # pixels, height and width
DPI = 100  # resolution of the figure


def draw_person(identity: int, seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Image of a whole person of the world in the middle: (H, W, 3) uint8 RGB.

    Args:
        identity: Number of the identity.
        seed: Seed of pose, light and place.
        size: Height and width of the image, pixels.
    """
    camera = replace(
        draw_camera(seed, 1), height=1.65, pitch=math.radians(7), distance=4.6, heading=0.25,
        sharpness=1.0, noise=0.0, haze=0.0, gain=1.05, gamma=1.0, saturation=1.1, sun=1.0,
        white=(1.0, 1.0, 1.0), sky=(1.0, 1.0, 1.02), sun_height=0.75, sun_azimuth=-0.7,
    )  # fmt: skip
    scene = sample_scene(identity, camera, torch.Generator().manual_seed(seed))
    whole = take_view(camera, camera.distance, size)
    points = torch.cat([piece.vertices for piece in scene.figure.pieces])
    seen = whole.project(points)
    low, high = seen[:, :2].amin(0), seen[:, :2].amax(0)
    middle, tall = (low + high) / 2, float(high[1] - low[1]) * 1.1
    wide = tall * size[1] / size[0]
    x, y = middle.tolist()
    view = whole.cropped((x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2))
    return render(replace(scene, view=view, behind=())).image.numpy()


def draw_lift(image: np.ndarray) -> bytes:
    """Figure of a lift, as a PNG file."""
    from PIL import Image

    pose: Pose = MediapipePose()(image)
    if not pose.found:
        raise ValueError("no person was found in the image: choose another one")
    lifted: Lift = lift_image(image, pose)
    height, width = image.shape[:2]
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    covered, _ = lifted.view.covers(column.flatten() + 0.5, row.flatten() + 0.5)
    silhouette = covered.reshape(height, width).numpy()
    figure = lift_figure(image, pose.keypoints, silhouette, lifted.upright())
    large = io.BytesIO()
    figure.savefig(large, format="png", dpi=DPI, metadata={"Software": None})
    small = io.BytesIO()
    Image.open(large).convert("RGB").save(small, "PNG", optimize=True)  # without its alpha
    return small.getvalue()


def main() -> None:
    """Writes the image, or a sheet of people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "lift.png")
    parser.add_argument("--identity", type=int, default=1_000_020)
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--sheet", type=Path, help="draw the next 40 people and seeds, and stop")
    options = parser.parse_args()
    if options.sheet is not None:
        rows = [
            [
                draw_person(options.identity + column, options.seed + row, (256, 128))
                for column in range(10)
            ]
            for row in range(4)
        ]
        sheet_figure(rows).savefig(options.sheet)
        return
    content = draw_lift(draw_person(options.identity, options.seed))
    options.out.write_bytes(content)
    print(f"{options.out}: {len(content) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
