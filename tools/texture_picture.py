"""Draws docs/texture.png: people of the synthetic world, their textures, and re-rendered images.

    python tools/texture_picture.py
    python tools/texture_picture.py --people 11,12,13 --out sheet.png

From left to right: image, completed texture, the pose of the image from six sides, standing, and
the pose of the image in another camera, light and place. Poses and masks are estimated by
mediapipe. Needs the extra ``demo``.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lift_picture import draw_person
from meshes import complete_texture, lift_image, rerender, unwrap
from meshes.world import draw_camera
from meshes.world.imaging.camera import draw_light
from meshes.world.rng import Rng
from meshes.world.scenery.backdrop import draw_backdrop
from pose import MediapipePose

ROOT = Path(__file__).resolve().parents[1]
PEOPLE = (3, 14, 27)
SIZE = (512, 256)  # of the images, pixels
TILE = (256, 128)


def draw_row(identity: int, estimator: MediapipePose) -> np.ndarray:
    """(256, W, 3) uint8 tiles of one person."""
    image = draw_person(identity, identity, SIZE)
    pose = estimator(image)
    lift = lift_image(image, pose)
    full = complete_texture(unwrap(lift, image, mask=pose.mask))
    rng = Rng.seeded("texture picture", identity)
    camera = draw_camera(0, 1 + identity % 20)
    options: list[dict[str, Any]] = [
        {"pose": lift.fit, "heading": k * math.pi / 3} for k in range(6)
    ]
    options.append({})
    options.append(
        {"pose": lift.fit, "camera": camera, "light": draw_light(camera, rng),
         "backdrop": draw_backdrop(rng)}
    )  # fmt: skip
    small = np.asarray(Image.fromarray(image).resize(TILE[::-1], Image.Resampling.BOX))
    tiles = [small, full.image.numpy()]
    tiles += [rerender(full, size=TILE, **each).image.numpy() for each in options]
    return np.concatenate(tiles, 1)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", default=",".join(map(str, PEOPLE)), help="identities")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "texture.png")
    options = parser.parse_args()
    torch.set_num_threads(1)
    estimator = MediapipePose()
    rows = [draw_row(int(number), estimator) for number in options.people.split(",")]
    Image.fromarray(np.concatenate(rows)).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
